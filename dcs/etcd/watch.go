package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// Watch implements dcs.KV. The library goes on at another member when one breaks
// and continues after the last revision it delivered; a member that lost its
// quorum ends the watch; one that keeps a change to itself is left for another.
// When nobody can tell whether anything has happened, or another store answers, or
// one that was set back, the watch ends too: the library would wait for ever.
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
	w := &watcher{k: k, client: client, prefix: prefix, cluster: k.cluster.Load()}
	w.seen.Store(from)
	for ctx.Err() == nil {
		if err := w.once(ctx, out); err != nil {
			send(ctx, out, dcs.WatchEvent{Err: k.read("watch", err)})
			return
		}
	}
}

// watcher is one watch, over several members one after the other.
type watcher struct {
	k      *KV
	client *clientv3.Client
	prefix string
	// cluster is the store whose reading the watch goes on from; 0 where nothing was read.
	cluster uint64
	// seen is the last revision received; heard counts what members have said.
	seen, heard atomic.Int64

	mu sync.Mutex
	// at is the address of the member that is watched; avoid, of the one left last.
	at, avoid string
}

// watcherKey finds the watcher in the context of its stream.
type watcherKey struct{}

// once watches at one member until it breaks, which is an error, or is left.
func (w *watcher) once(ctx context.Context, out chan<- dcs.WatchEvent) error {
	watched, end := context.WithCancel(w.apart(clientv3.WithRequireLeader(ctx)))
	defer end()
	var left atomic.Bool
	var lost error // written before left
	go func() {
		leave, err := w.silence(watched)
		if !leave && err == nil {
			return
		}
		if lost = err; leave {
			w.leave()
		}
		left.Store(true)
		end()
	}()
	for resp := range w.client.Watch(watched, w.prefix, clientv3.WithPrefix(), clientv3.WithRev(w.seen.Load()+1)) {
		if left.Load() {
			return lost
		}
		if err := resp.Err(); err != nil {
			return err
		}
		if err := w.same(resp.Header); err != nil {
			return err
		}
		w.k.terms.heard(resp.Header)
		events := byRevision(resp.Events)
		if len(events) > 0 {
			w.seen.Store(events[len(events)-1].Revision)
		}
		w.heard.Add(1)
		for _, e := range events {
			if !send(ctx, out, e) {
				return nil
			}
		}
	}
	switch {
	case left.Load():
		return lost
	case ctx.Err() != nil:
		return nil
	}
	return errors.New("the watch was closed")
}

// same refuses an answer of another store than the one that is watched, or of one that was set back: it knows less than what
// was delivered.
func (w *watcher) same(h *pb.ResponseHeader) error {
	switch {
	case w.cluster != 0 && h.GetClusterId() != w.cluster:
		return fmt.Errorf("etcd cluster %x answers, and cluster %x was watched: %w", h.GetClusterId(), w.cluster, dcs.ErrCompacted)
	case h.GetRevision() < w.seen.Load():
		return fmt.Errorf("etcd is at revision %d, and %d was delivered: it was set back: %w", h.GetRevision(), w.seen.Load(), dcs.ErrCompacted)
	}
	return nil
}

// apart gives each watch a stream of its own, which knows it: the library would put it
// on that of another watch, and so back on the member that was left.
func (w *watcher) apart(ctx context.Context) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, "pgkeeper-watch", strconv.FormatInt(w.k.watches.Add(1), 10))
	return context.WithValue(ctx, watcherKey{}, w)
}

func (w *watcher) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.avoid = w.at
}

// goes takes note of where the stream goes, and reports whether that is the member
// that was left.
func (w *watcher) goes(to string) (back bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = to
	return to == w.avoid
}

// elsewhere opens a watcher's stream not at the member it has left, where there is
// another: the balancer gives each try the next one.
func elsewhere(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	w, known := ctx.Value(watcherKey{}).(*watcher)
	if !known {
		return open(ctx, desc, cc, method, opts...)
	}
	for n := 1; ; n++ {
		own, cancel := context.WithCancel(ctx)
		stream, err := open(own, desc, cc, method, opts...)
		if err == nil && w.goes(address(stream)) && n < len(w.k.keepers) {
			cancel()
			continue
		}
		context.AfterFunc(ctx, cancel)
		return stream, err
	}
}

// address is where a stream leads.
func address(stream grpc.ClientStream) string {
	if p, known := peer.FromContext(stream.Context()); known {
		return p.Addr.String()
	}
	return ""
}

// mostUsual bounds what silence is taken for usual: five times SilentAfter.
const mostUsual = 10

// deaf is how many reads in a row nobody has answered when a watch ends: an election of
// etcd's takes one.
const deaf = 2

// silence returns leave when the member keeps a change to itself: a leader whose disk
// hangs keeps its watches open and has nothing to tell. A read that any other member
// can answer tells it from a cluster in which nothing happens. What has turned out to
// be usual is not asked about again: beats may be many seconds apart. An error is a
// store that nobody reaches, or not the one that was watched.
func (w *watcher) silence(ctx context.Context) (leave bool, err error) {
	quiet, usual, failed := 0, 0, 0 // quiet and usual in halves of SilentAfter
	for heard := w.heard.Load(); passed(ctx, w.k.options.SilentAfter/2); {
		if now := w.heard.Load(); now != heard {
			heard, usual, quiet, failed = now, max(quiet, usual-1), 0, 0
			continue
		}
		if quiet++; quiet < usual+2 {
			continue
		}
		newest, header, err := w.k.newest(ctx, w.client, w.prefix, w.seen.Load())
		if err != nil { // nobody can tell
			if failed++; failed == deaf && ctx.Err() == nil {
				return false, err
			}
			continue
		}
		failed = 0
		if err := w.same(header); err != nil {
			return false, err
		}
		switch {
		case newest == 0: // nothing happened
			if usual = min(quiet, mostUsual); usual == mostUsual {
				quiet = 0
			}
		case !passed(ctx, w.k.options.ResendAfter): // it may be on its way
			return false, nil
		case w.heard.Load() == heard:
			return true, nil
		}
	}
	return false, nil
}

// newest is the greatest revision under prefix that is greater than seen, or 0, as of the store that header is of.
func (k *KV) newest(ctx context.Context, client *clientv3.Client, prefix string, seen int64) (revision int64, header *pb.ResponseHeader, err error) {
	defer k.observe("range", &err)()
	ctx, cancel := context.WithTimeout(ctx, k.options.SilentAfter)
	defer cancel()
	resp, err := resend(ctx, k.options.ResendAfter, func(ctx context.Context) (*clientv3.GetResponse, error) {
		resp, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithMinModRev(seen+1), clientv3.WithKeysOnly(),
			clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(1))
		return resp, k.read("range", err)
	})
	if err != nil {
		return 0, nil, err
	}
	k.terms.heard(resp.Header)
	if len(resp.Kvs) == 0 {
		return 0, resp.Header, nil
	}
	return resp.Kvs[0].ModRevision, resp.Header, nil
}

// passed waits for d and reports whether it passed before ctx ended.
func passed(ctx context.Context, d time.Duration) bool {
	timer, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-timer.Done()
	return ctx.Err() == nil
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
