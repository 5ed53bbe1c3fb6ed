package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// keepalivePatience bounds what waits for a member that does not answer a keepalive
// whose context has no deadline.
const keepalivePatience = 2 * time.Second

// errOvertaken: the member that answered has missed an election. It renews a lease
// of its own memory, while etcd's present leader lets the real one run out.
var errOvertaken = fmt.Errorf("the member has missed an election: %w", dcs.ErrUnavailable)

// KeepAlive implements dcs.KV. The keepalive goes to every member at once, and the
// first answer from the newest term counts. So a member that hangs costs nothing; and
// a leader whose disk hangs, which may take itself for the leader as long as that
// lasts, hears of the renewal too. It must: etcd before 3.4.29 and 3.5.11 has it
// revoke, when its disk comes back, all leases that it has not heard of
// (etcd-io/etcd#15247).
func (k *KV) KeepAlive(ctx context.Context, lease int64) (err error) {
	defer k.observe("keepalive", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return err
	}
	answers := make(chan error, len(k.keepers))
	for _, keeper := range k.keepers {
		// Also when another member has answered first, each is told.
		own, cancel := outlast(ctx, k.closed)
		go func() {
			defer cancel()
			answers <- k.keepAt(own, client, keeper, lease)
		}()
	}
	return k.firstKept(ctx, answers)
}

// outlast is a context with the deadline of ctx that does not end before.
func outlast(ctx, closed context.Context) (context.Context, context.CancelFunc) {
	if deadline, bounded := ctx.Deadline(); bounded {
		return context.WithDeadline(closed, deadline)
	}
	return context.WithTimeout(closed, keepalivePatience)
}

// firstKept takes the first answer that counts; when none came, an unknown outcome is
// what is reported. A term that most members do not know is forgotten: etcd was set
// back. A keepalive proves nothing either way.
func (k *KV) firstKept(ctx context.Context, answers <-chan error) error {
	var worst error
	overtaken := 0
	for range k.keepers {
		var err error
		select {
		case err = <-answers:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return k.write("keepalive", ctx.Err())
			}
			err = <-answers // all end at that deadline
		}
		switch {
		case settles(err):
			return err
		case errors.Is(err, errOvertaken):
			overtaken++
		}
		if worst == nil || errors.Is(err, dcs.ErrUnknownOutcome) {
			worst = err
		}
	}
	if overtaken > len(k.keepers)/2 {
		k.terms.forget()
	}
	if overtaken == len(k.keepers) {
		return nil
	}
	return worst
}

// keepAt asks one member. A stream that broke since it was last used is opened anew.
func (k *KV) keepAt(ctx context.Context, client *clientv3.Client, keeper *keeper, lease int64) (err error) {
	select {
	case keeper.turn <- struct{}{}:
		defer func() { <-keeper.turn }()
	case <-ctx.Done():
		return k.read("keepalive", ctx.Err()) // not sent: an earlier one hangs
	}
	for range mostAttempts {
		var resp *pb.LeaseKeepAliveResponse
		resp, err = keeper.ask(ctx, k.closed, client, lease)
		switch {
		case err == nil && k.terms.overtaken(resp.Header):
			return errOvertaken
		case err == nil && resp.TTL <= 0:
			return fmt.Errorf("etcd keepalive of lease %x: %w", lease, dcs.ErrLeaseGone)
		case err == nil:
			return nil
		}
		keeper.drop()
		if err = k.write("keepalive", err); ctx.Err() != nil || settles(err) {
			break
		}
	}
	return err
}

// keeper holds a connection to one member and one stream for keepalives on it, on
// which at most one is under way. The library's KeepAliveOnce opens a stream each
// time, with a login where etcd asks for one, and spins while etcd is down; its
// KeepAlive renews by itself, which pgkeeper must never do.
type keeper struct {
	endpoint string
	turn     chan struct{} // holds one while a request is under way
	conn     *grpc.ClientConn

	mu     sync.Mutex
	stream pb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc
}

// ask sends one keepalive and reads its answer; the end of ctx breaks the stream,
// so that no late answer can be taken for a newer one.
func (s *keeper) ask(ctx, closed context.Context, client *clientv3.Client, lease int64) (*pb.LeaseKeepAliveResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, s.drop)
	defer stop()
	stream, err := s.open(closed, client)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: lease}); err != nil {
		// The reason is what Recv says; Send knows only that the stream ended.
		if _, reason := stream.Recv(); reason != nil {
			err = reason
		}
		return nil, err
	}
	resp, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if resp.ID != lease {
		return nil, errors.New("the answer names another lease")
	}
	return resp, ctx.Err()
}

func (s *keeper) open(closed context.Context, client *clientv3.Client) (pb.Lease_LeaseKeepAliveClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		return s.stream, nil
	}
	if s.conn == nil {
		conn, err := client.Dial(s.endpoint)
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	ctx, cancel := context.WithCancel(closed)
	s.cancel = cancel
	s.mu.Unlock()
	// May wait for a connection; drop must be able to cancel it meanwhile.
	stream, err := pb.NewLeaseClient(s.conn).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
	s.mu.Lock()
	if err != nil {
		cancel()
		return nil, err
	}
	s.stream = stream
	return stream, nil
}

func (s *keeper) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
	s.stream, s.cancel = nil, nil
}

// close is for the end of the client, when nothing is sent any more.
func (s *keeper) close() error {
	s.drop()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
