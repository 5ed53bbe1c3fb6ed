package testbed

import (
	"context"
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
