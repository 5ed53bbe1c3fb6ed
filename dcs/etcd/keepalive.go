package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// keeper holds one stream for keepalives, on which at most one is under way. The
// library's KeepAliveOnce opens a stream each time, with a login where etcd asks
// for one, and spins while etcd is down; its KeepAlive renews by itself, which
// pgkeeper must never do.
type keeper struct {
	turn sync.Mutex // held by the request under way

	mu     sync.Mutex
	stream pb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc
}

// KeepAlive implements dcs.KV.
func (k *KV) KeepAlive(ctx context.Context, lease int64) (err error) {
	defer k.observe("keepalive", &err)()
	client, err := k.with(ctx)
	if err != nil {
		return err
	}
	k.keeper.turn.Lock()
	defer k.keeper.turn.Unlock()
	for n := range mostAttempts {
		// An attempt that is slow is given up, not joined by another: the
		// stream is one. Each gets twice the time of the one before, since
		// opening the stream may take a login, which is slow on purpose.
		attempt, cancel := context.WithTimeout(ctx, k.options.ResendAfter<<n)
		err = k.keepOnce(attempt, client, lease)
		cancel()
		if ctx.Err() != nil || settles(err) {
			break
		}
	}
	return err
}

func (k *KV) keepOnce(ctx context.Context, client *clientv3.Client, lease int64) error {
	if err := ctx.Err(); err != nil {
		return k.read("keepalive", err)
	}
	ttl, err := k.keeper.ask(ctx, k.closed, client, lease)
	if err != nil {
		k.keeper.drop()
		return k.write("keepalive", err)
	}
	if ttl <= 0 {
		return fmt.Errorf("etcd keepalive of lease %x: %w", lease, dcs.ErrLeaseGone)
	}
	return nil
}

// ask sends one keepalive and reads its answer; the end of ctx breaks the stream,
// so that no late answer can be taken for a newer one.
func (s *keeper) ask(ctx, closed context.Context, client *clientv3.Client, lease int64) (ttl int64, err error) {
	stop := context.AfterFunc(ctx, s.drop)
	defer stop()
	stream, err := s.open(closed, client)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: lease}); err != nil {
		// The reason is what Recv says; Send knows only that the stream ended.
		if _, reason := stream.Recv(); reason != nil {
			err = reason
		}
		return 0, err
	}
	resp, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	if resp.ID != lease {
		return 0, errors.New("the answer names another lease")
	}
	return resp.TTL, ctx.Err()
}

func (s *keeper) open(closed context.Context, client *clientv3.Client) (pb.Lease_LeaseKeepAliveClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		return s.stream, nil
	}
	ctx, cancel := context.WithCancel(closed)
	s.cancel = cancel
	s.mu.Unlock()
	// May wait for a connection; drop must be able to cancel it meanwhile.
	stream, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
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
