package etcd

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/dcs"
)

var _ dcs.KV = (*KV)(nil)

// Range implements dcs.KV.
func (k *KV) Range(ctx context.Context, prefix string) (snap dcs.Snapshot, err error) {
	defer k.observe("range", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return dcs.Snapshot{}, err
	}
	resp, err := resend(ctx, k.options.ResendAfter, func(ctx context.Context) (*clientv3.GetResponse, error) {
		// Linearizable, which is the default: a stale read proves nothing.
		resp, err := client.Get(ctx, prefix, clientv3.WithPrefix())
		return resp, k.read("range", err)
	})
	if err != nil {
		return dcs.Snapshot{}, k.read("range", err)
	}
	k.terms.heard(resp.Header)
	k.cluster.Store(resp.Header.ClusterId)
	snap = dcs.Snapshot{ClusterID: resp.Header.ClusterId, Revision: resp.Header.Revision}
	for _, kv := range resp.Kvs {
		snap.Pairs = append(snap.Pairs, pair(kv))
	}
	return snap, nil
}

func pair(kv *mvccpb.KeyValue) dcs.Pair {
	return dcs.Pair{Key: string(kv.Key), Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Lease: kv.Lease}
}

// Txn implements dcs.KV. A transaction that is not dcs.Repeatable is sent once:
// the client library repeats it only when there was no connection to send it on.
func (k *KV) Txn(ctx context.Context, compares []dcs.Compare, ops []dcs.Op) (revision int64, err error) {
	defer k.observe("txn", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return 0, err
	}
	conds, writes, err := translate(compares, ops)
	if err != nil {
		return 0, err
	}
	try := func(ctx context.Context) (int64, error) {
		resp, err := client.Txn(ctx).If(conds...).Then(writes...).Commit()
		if err != nil {
			return 0, k.write("txn", err)
		}
		k.terms.heard(resp.Header)
		if !resp.Succeeded {
			return 0, dcs.ErrCompared
		}
		return resp.Header.Revision, nil
	}
	if !dcs.IsRepeatable(ctx) {
		return try(ctx)
	}
	revision, err = resend(ctx, k.options.ResendAfter, try)
	return revision, k.write("txn", err)
}

func translate(compares []dcs.Compare, ops []dcs.Op) ([]clientv3.Cmp, []clientv3.Op, error) {
	var conds []clientv3.Cmp
	for _, c := range compares {
		cond, err := condition(c)
		if err != nil {
			return nil, nil, err
		}
		conds = append(conds, cond)
	}
	var writes []clientv3.Op
	for _, op := range ops {
		switch {
		case op.Delete:
			writes = append(writes, clientv3.OpDelete(op.Key))
		case op.Lease != 0:
			writes = append(writes, clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease))))
		default:
			writes = append(writes, clientv3.OpPut(op.Key, string(op.Value)))
		}
	}
	return conds, writes, nil
}

func condition(c dcs.Compare) (clientv3.Cmp, error) {
	switch c.Target {
	case dcs.ModRevision:
		return clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Number), nil
	case dcs.CreateRevision:
		return clientv3.Compare(clientv3.CreateRevision(c.Key), "=", c.Number), nil
	case dcs.LeaseOf:
		return clientv3.Compare(clientv3.LeaseValue(c.Key), "=", clientv3.LeaseID(c.Number)), nil
	case dcs.ValueOf:
		return clientv3.Compare(clientv3.Value(c.Key), "=", string(c.Value)), nil
	}
	return clientv3.Cmp{}, fmt.Errorf("compare %q: no such target %d", c.Key, c.Target)
}

// Grant implements dcs.KV.
func (k *KV) Grant(ctx context.Context, ttlSeconds int64) (lease int64, err error) {
	defer k.observe("grant", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return 0, err
	}
	// An unused lease of a repeated attempt expires by itself.
	resp, err := resend(ctx, k.options.ResendAfter, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		resp, err := client.Grant(ctx, ttlSeconds)
		return resp, k.write("grant", err)
	})
	if err != nil {
		return 0, k.write("grant", err)
	}
	k.terms.heard(resp.ResponseHeader)
	return int64(resp.ID), nil
}

// Revoke implements dcs.KV.
func (k *KV) Revoke(ctx context.Context, lease int64) (err error) {
	defer k.observe("revoke", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return err
	}
	_, err = client.Revoke(ctx, clientv3.LeaseID(lease))
	return k.write("revoke", err)
}
