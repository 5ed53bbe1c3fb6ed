package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// Watch implements dcs.KV. The library goes on at another member when one breaks
// and continues after the last revision it delivered; a member that lost its
// quorum ends the watch.
func (k *KV) Watch(ctx context.Context, prefix string, from int64) <-chan dcs.WatchEvent {
	out := make(chan dcs.WatchEvent)
	go k.watch(ctx, prefix, from, out)
	return out
}

func (k *KV) watch(ctx context.Context, prefix string, from int64, out chan<- dcs.WatchEvent) {
	defer close(out)
	client, err := k.with(ctx)
	if err != nil {
		send(ctx, out, dcs.WatchEvent{Err: err})
		return
	}
	watched, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for resp := range client.Watch(watched, prefix, clientv3.WithPrefix(), clientv3.WithRev(from+1)) {
		if err := resp.Err(); err != nil {
			send(ctx, out, dcs.WatchEvent{Err: k.read("watch", err)})
			return
		}
		for _, e := range byRevision(resp.Events) {
			if !send(ctx, out, e) {
				return
			}
		}
	}
	send(ctx, out, dcs.WatchEvent{Err: k.read("watch", errors.New("the watch was closed"))})
}

// byRevision gives each revision its own event: etcd sends several at once.
func byRevision(events []*clientv3.Event) []dcs.WatchEvent {
	var grouped []dcs.WatchEvent
	for _, e := range events {
		last := len(grouped) - 1
		if last < 0 || grouped[last].Revision != e.Kv.ModRevision {
			grouped = append(grouped, dcs.WatchEvent{Revision: e.Kv.ModRevision})
			last++
		}
		change := dcs.Change{Pair: pair(e.Kv), Deleted: e.Type == mvccpb.Event_DELETE}
		grouped[last].Changes = append(grouped[last].Changes, change)
	}
	return grouped
}

func send(ctx context.Context, out chan<- dcs.WatchEvent, e dcs.WatchEvent) bool {
	select {
	case <-ctx.Done():
		return false
	case out <- e:
		return true
	}
}
