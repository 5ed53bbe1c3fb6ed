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

// KeepAlive implements dcs.KV. The members are asked in turn, one for most keepalives.
// When that one has no answer within ResendAfter, or none from the newest term, all others
// are asked at once: then the first good answer counts.
//
// One that was not asked for half of the lease is asked beside it: a leader whose disk
// hangs takes itself for the leader as long as that lasts, and etcd before 3.4.31 and
// 3.5.13 has it revoke, when its disk comes back, every lease whose renewals it has not
// heard of (etcd-io/etcd#15247).
func (k *KV) KeepAlive(ctx context.Context, lease int64) (err error) {
	defer k.observe("keepalive", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return err
	}
	r := &round{k: k, client: client, lease: lease, answers: make(chan keptAlive, len(k.keepers))}
	var n int
	r.rest, n = k.turns.next(lease)
	r.ask(ctx, n)
	return r.first(ctx)
}

// round is one keepalive, sent to one member or more.
type round struct {
	k       *KV
	client  *clientv3.Client
	lease   int64
	rest    []*keeper // not asked yet
	open    int       // asked, and without an answer
	answers chan keptAlive
}

// keptAlive is the answer of one member.
type keptAlive struct {
	from *keeper
	err  error
}

// ask sends the keepalive to the next n members. Also when another one has answered
// first, each is told.
func (r *round) ask(ctx context.Context, n int) {
	for _, keeper := range r.rest[:n] {
		own, cancel := outlast(ctx, r.k.closed)
		r.k.turns.asks(r.k.closed, keeper)
		go func() {
			defer cancel()
			ttl, err := r.k.keepAt(own, r.client, keeper, r.lease)
			if err == nil {
				r.k.turns.answered(r.k.closed, keeper, r.lease, ttl)
			}
			r.answers <- keptAlive{keeper, err}
		}()
	}
	r.rest, r.open = r.rest[n:], r.open+n
}

// outlast is a context with the deadline of ctx that does not end before.
func outlast(ctx, closed context.Context) (context.Context, context.CancelFunc) {
	if deadline, bounded := ctx.Deadline(); bounded {
		return context.WithDeadline(closed, deadline)
	}
	return context.WithTimeout(closed, keepalivePatience)
}

// first takes the first answer that counts; when none came, an unknown outcome is what
// is reported. A term that most members do not know is forgotten: etcd was set back. A
// keepalive proves nothing either way.
func (r *round) first(ctx context.Context) error {
	var worst error
	overtaken := 0
	for r.open > 0 {
		a, came := next(ctx, r.answers, r.k.options.ResendAfter, len(r.rest) == 0)
		switch {
		case !came && errors.Is(ctx.Err(), context.Canceled):
			return r.k.write("keepalive", ctx.Err())
		case !came && ctx.Err() != nil:
			a = <-r.answers // all end at that deadline
		case !came:
			r.ask(ctx, len(r.rest))
			continue
		}
		r.open--
		if settles(a.err) {
			return a.err
		}
		if errors.Is(a.err, errOvertaken) {
			overtaken++
		}
		if worst == nil || errors.Is(a.err, dcs.ErrUnknownOutcome) {
			worst = a.err
		}
		if ctx.Err() == nil {
			r.ask(ctx, len(r.rest))
		}
	}
	if overtaken > len(r.k.keepers)/2 {
		r.k.terms.forget()
	}
	if overtaken == len(r.k.keepers) {
		return nil
	}
	return worst
}

// keepAt asks one member. A stream that broke since it was last used is opened anew.
func (k *KV) keepAt(ctx context.Context, client *clientv3.Client, keeper *keeper, lease int64) (ttl time.Duration, err error) {
	select {
	case keeper.turn <- struct{}{}:
		defer func() { <-keeper.turn }()
	case <-ctx.Done():
		return 0, k.read("keepalive", ctx.Err()) // not sent: an earlier one hangs
	}
	for range mostAttempts {
		var resp *pb.LeaseKeepAliveResponse
		resp, err = keeper.ask(ctx, k.closed, client, lease)
		switch {
		case err == nil && k.terms.overtaken(resp.Header):
			return 0, errOvertaken
		case err == nil && resp.TTL <= 0:
			return 0, fmt.Errorf("etcd keepalive of lease %x: %w", lease, dcs.ErrLeaseGone)
		case err == nil:
			return time.Duration(resp.TTL) * time.Second, nil
		}
		keeper.drop()
		if err = k.write("keepalive", err); ctx.Err() != nil || settles(err) {
			break
		}
	}
	return 0, err
}

// keeper holds a connection to one member and one stream for keepalives on it, on
// which at most one is under way. The library's KeepAliveOnce opens a stream each
// time, with a login where etcd asks for one, and spins while etcd is down; its
// KeepAlive renews by itself, which pgkeeper must never do.
type keeper struct {
	endpoint string
	turn     chan struct{} // holds one while a request is under way
	conn     *grpc.ClientConn
	seen     seen

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
	stream, err := s.open(ctx, closed, client)
	if err != nil {
		return nil, err
	}
	dropped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { s.drop(); close(dropped) }) // not before there is a stream: it would break none
	defer func() {
		if !stop() {
			<-dropped // later it would break the stream of the next keepalive
		}
	}()
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

// open waits for a connection as long as call lasts.
func (s *keeper) open(call, closed context.Context, client *clientv3.Client) (pb.Lease_LeaseKeepAliveClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		return s.stream, nil
	}
	conn, err := s.dial(client)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(closed)
	s.cancel = cancel
	s.mu.Unlock()
	// drop must be able to cancel it meanwhile.
	stop := context.AfterFunc(call, cancel)
	stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
	ended := !stop()
	s.mu.Lock()
	switch {
	case err != nil:
		cancel()
		return nil, err
	case ended:
		return nil, call.Err()
	}
	s.stream = stream
	return stream, nil
}

// connection is the one to the member, for what is no keepalive.
func (s *keeper) connection(client *clientv3.Client) (*grpc.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dial(client)
}

// dial connects once; the caller holds mu. It does not wait for the member.
func (s *keeper) dial(client *clientv3.Client) (*grpc.ClientConn, error) {
	if s.conn == nil {
		conn, err := client.Dial(s.endpoint)
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	return s.conn, nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
