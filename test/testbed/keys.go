package testbed

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Base is the path of the cluster's keys in etcd.
const Base = "/service/" + Scope + "/"

// Key reads a key below Base; found is false when there is none.
func (c *Cluster) Key(ctx context.Context, name string) (value string, found bool, err error) {
	client, err := c.Etcd.Client(ctx)
	if err != nil {
		return "", false, err
	}
	defer client.Close()
	answer, err := client.Get(ctx, Base+name)
	if err != nil {
		return "", false, fmt.Errorf("read %s: %w", name, err)
	}
	if len(answer.Kvs) == 0 {
		return "", false, nil
	}
	return string(answer.Kvs[0].Value), true, nil
}

// memberKey is what a test reads of a member's key.
type memberKey struct {
	State            string `json:"state"`
	Role             string `json:"role"`
	ReplicationState string `json:"replication_state"`
	Timeline         int    `json:"timeline"`
}

// memberKeys are the members' keys, by their names.
func (c *Cluster) memberKeys(ctx context.Context) (map[string]memberKey, error) {
	client, err := c.Etcd.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	answer, err := client.Get(ctx, Base+"members/", clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read the members' keys: %w", err)
	}
	keys := map[string]memberKey{}
	for _, kv := range answer.Kvs {
		var key memberKey
		if err := json.Unmarshal(kv.Value, &key); err != nil {
			return nil, fmt.Errorf("the key %s: %w", kv.Key, err)
		}
		keys[string(kv.Key[len(Base+"members/"):])] = key
	}
	return keys, nil
}

// Change is one write of a key: empty when it was deleted.
type Change struct{ Key, Value string }

// WatchKeys sends every change below Base until ctx ends. It is connected when it
// returns: no change after that is missed.
func (c *Cluster) WatchKeys(ctx context.Context) (<-chan Change, error) {
	client, err := c.Etcd.Client(ctx)
	if err != nil {
		return nil, err
	}
	events := client.Watch(clientv3.WithRequireLeader(ctx), Base, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-events; first.Err() != nil {
		_ = client.Close()
		return nil, fmt.Errorf("watch %s: %w", Base, first.Err())
	}
	changes := make(chan Change, 1024)
	go func() {
		defer close(changes)
		defer client.Close()
		for answer := range events {
			for _, e := range answer.Events {
				changes <- Change{string(e.Kv.Key[len(Base):]), string(e.Kv.Value)}
			}
		}
	}()
	return changes, nil
}
