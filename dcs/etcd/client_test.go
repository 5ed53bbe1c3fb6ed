package etcd_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// deadPort is an address where nobody listens.
func deadPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// link is a network path to an etcd member that can be frozen: connections stay
// open, nothing passes.
type link struct {
	listener net.Listener
	// passed counts the bytes of both directions.
	passed atomic.Int64
	mu     sync.Mutex
	thaw   chan struct{}
	target string
	far    []net.Conn
}

// turn has the link lead elsewhere; what passes through it breaks.
func (l *link) turn(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
	for _, conn := range l.far {
		conn.Close()
	}
	l.far = nil
}

func (l *link) dial() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	conn, err := net.Dial("tcp", l.target)
	if err == nil {
		l.far = append(l.far, conn)
	}
	return conn, err
}

func newLink(t *testing.T, target string) *link {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, thaw: make(chan struct{}), target: target}
	close(l.thaw)
	ctx := t.Context()
	t.Cleanup(func() { l.melt(); listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := l.dial()
			if err != nil {
				near.Close()
				continue
			}
			context.AfterFunc(ctx, func() { near.Close(); far.Close() })
			go l.pump(near, far)
			go l.pump(far, near)
		}
	}()
	return l
}

func (l *link) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		thaw := l.thaw
		l.mu.Unlock()
		<-thaw
		l.passed.Add(int64(n))
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.thaw = make(chan struct{})
}

func (l *link) melt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.thaw:
	default:
		close(l.thaw)
	}
}

func (l *link) addr() string { return l.listener.Addr().String() }

func hostPort(url string) string { return url[len("http://"):] }

func TestNoEndpointIsRefused(t *testing.T) {
	if _, err := etcd.New(etcd.Options{}); err == nil {
		t.Error("want an error")
	}
}

func TestAStoreThatIsDownCertainlyDidNothing(t *testing.T) {
	for _, user := range []string{"", "root"} {
		kv := open(t, etcd.Options{Endpoints: []string{deadPort(t)}, Username: user, Password: user})
		began := time.Now()
		var all sync.WaitGroup // at once: each takes all of its time
		ask := func(request func(ctx context.Context)) {
			ctx := within(t, 3*time.Second) // a request that a busy machine never began to send says another thing
			all.Go(func() { request(ctx) })
		}
		ask(func(ctx context.Context) {
			if _, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/k", nil, 0)}); !errors.Is(err, dcs.ErrUnavailable) || errors.Is(err, dcs.ErrUnknownOutcome) {
				t.Errorf("user %q: txn: %v", user, err)
			}
		})
		ask(func(ctx context.Context) {
			if _, err := kv.Txn(dcs.Repeatable(ctx), nil, []dcs.Op{dcs.Put("/k", nil, 0)}); errors.Is(err, dcs.ErrCompared) || err == nil {
				t.Errorf("user %q: repeatable txn: %v", user, err)
			}
		})
		ask(func(ctx context.Context) {
			if err := kv.KeepAlive(ctx, 1); !errors.Is(err, dcs.ErrUnavailable) {
				t.Errorf("user %q: keepalive: %v", user, err)
			}
		})
		ask(func(ctx context.Context) {
			if _, err := kv.Range(ctx, "/"); !errors.Is(err, dcs.ErrUnavailable) {
				t.Errorf("user %q: range: %v", user, err)
			}
		})
		all.Wait()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("user %q: took %s", user, took)
		}
	}
}

func TestADeadEndpointBesideALivingOneCostsNothing(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	ctx := within(t, time.Minute)
	requests := func(endpoints ...string) time.Duration {
		t.Helper()
		kv := open(t, etcd.Options{Endpoints: endpoints})
		lease, err := kv.Grant(ctx, 60)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 20 {
			if _, err := kv.Range(ctx, "/"); err != nil {
				t.Fatal(err)
			}
			if err := kv.KeepAlive(ctx, lease); err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/k", nil, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(began)
	}
	alone := requests(m.ClientURL())
	// One that is waited for, if only until the next is asked, costs two requests of three 300 ms.
	if took := requests(deadPort(t), m.ClientURL(), deadPort(t)); took > 2*alone+5*time.Second {
		t.Errorf("60 requests took %s, and %s without the dead", took, alone)
	}
}

func TestAFrozenPathIsLeftForAnother(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	frozen, alive := newLink(t, hostPort(m.ClientURL())), newLink(t, hostPort(m.ClientURL()))
	kv := open(t, etcd.Options{Endpoints: []string{frozen.addr(), alive.addr()}, ResendAfter: 100 * time.Millisecond})
	ctx := within(t, time.Minute)
	s, err := dcs.NewStore(kv, "service", "x").Open(ctx, "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Acquire(ctx, dcs.Candidacy{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // both paths have been used
		if _, err := kv.Range(ctx, "/"); err != nil {
			t.Fatal(err)
		}
	}
	frozen.freeze()
	for range 4 {
		began := time.Now()
		if err := l.Renew(ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Range(ctx, "/"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 8*time.Second { // a broken connection is noticed after 11.5 s
			t.Errorf("a renewal and a read took %s", took)
		}
	}
}

func TestAWriteOverAFrozenPathHasAnUnknownOutcome(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	path := newLink(t, hostPort(m.ClientURL()))
	kv := open(t, etcd.Options{Endpoints: []string{path.addr()}})
	ctx := within(t, time.Minute)
	if _, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/k", []byte("1"), 0)}); err != nil {
		t.Fatal(err)
	}
	lease, err := kv.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.KeepAlive(ctx, lease); err != nil {
		t.Fatal(err)
	}
	path.freeze()
	_, err = kv.Txn(within(t, time.Second), nil, []dcs.Op{dcs.Put("/k", []byte("2"), 0)})
	if !errors.Is(err, dcs.ErrUnknownOutcome) {
		t.Errorf("txn: %v", err)
	}
	if _, err := kv.Range(within(t, time.Second), "/"); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("range: %v", err)
	}
	if err := kv.KeepAlive(within(t, time.Second), lease); !errors.Is(err, dcs.ErrUnknownOutcome) {
		t.Errorf("keepalive: %v", err)
	}
	path.melt()
	if _, err := kv.Range(ctx, "/"); err != nil {
		t.Errorf("after the thaw: %v", err)
	}
}

func TestAnIdleClientSendsNothing(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	path := newLink(t, hostPort(m.ClientURL()))
	kv := open(t, etcd.Options{Endpoints: []string{path.addr()}})
	ctx := within(t, time.Minute)
	store := dcs.NewStore(kv, "service", "x")
	s, err := store.Open(ctx, "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	view, err := store.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	updates := store.Watch(ctx, view)
	if err := s.PutMember(ctx, &cluster.Member{}); err != nil {
		t.Fatal(err)
	}
	if u := <-updates; u.Err != nil || len(u.View.Members) != 1 {
		t.Fatalf("update is %+v", u)
	}
	for { // HTTP/2 settles its windows, sooner or later
		before := path.passed.Load()
		pass(1500 * time.Millisecond)
		sent := path.passed.Load() - before
		if sent == 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%d bytes in 1.5 s, and some in each such time before", sent)
		}
	}
}

func TestCredentials(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true, BcryptCost: 4})
	ctx := within(t, time.Minute)
	admin := rawClient(t, m.ClientURL())
	steps := []func() error{
		func() error { _, err := admin.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := admin.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := admin.UserAdd(ctx, "nobody", "secret"); return err },
		func() error { _, err := admin.AuthEnable(ctx); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ user, password string }{{"", ""}, {"root", "wrong"}, {"nobody", "secret"}} {
		kv := open(t, etcd.Options{Endpoints: []string{m.ClientURL()}, Username: c.user, Password: c.password})
		_, err := kv.Range(ctx, "/x/")
		if !errors.Is(err, dcs.ErrDenied) {
			t.Errorf("%+v: range: %v", c, err)
		}
		if _, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/x/k", nil, 0)}); !errors.Is(err, dcs.ErrDenied) {
			t.Errorf("%+v: txn: %v", c, err)
		}
	}
	kv := open(t, etcd.Options{Endpoints: []string{m.ClientURL()}, Username: "root", Password: "secret"})
	s, err := dcs.NewStore(kv, "service", "x").Open(ctx, "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Acquire(ctx, dcs.Candidacy{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Renew(ctx, time.Minute); err != nil {
		t.Error(err)
	}
	if u := <-dcs.NewStore(kv, "service", "x").Watch(ctx, cluster.View{}); u.Err != nil || u.View.Leader == nil {
		t.Errorf("watch: %+v", u)
	}
}

func TestAMemberWithoutItsQuorumEndsTheWatch(t *testing.T) {
	ctx := within(t, 60*time.Second)
	c, err := embedded.StartCluster(ctx, t.TempDir(), 3, embedded.Options{UnsafeNoFsync: true, ElectionMs: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	left := c.Members()[0]
	kv := open(t, etcd.Options{Endpoints: []string{left.ClientURL()}})
	snap, err := kv.Range(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	events := kv.Watch(ctx, "/", snap.Revision)
	if _, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/k", nil, 0)}); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Err != nil || len(e.Changes) != 1 {
		t.Fatalf("event is %+v", e)
	}
	c.Members()[1].Close()
	c.Members()[2].Close()
	if e := <-events; !errors.Is(e.Err, dcs.ErrUnavailable) {
		t.Errorf("event is %+v, want the end of the watch", e)
	}
}

func TestEveryRequestIsObserved(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	var mu sync.Mutex
	seen := map[string]int{}
	began := time.Now()
	kv := open(t, etcd.Options{
		Endpoints: []string{m.ClientURL()},
		Now:       func() cluster.Instant { return cluster.Instant(time.Since(began)) },
		Observe: func(op string, d time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			if seen[op]++; d <= 0 || (err != nil) != (op == "revoke") {
				t.Errorf("%s took %s, error %v", op, d, err)
			}
		},
	})
	ctx := within(t, time.Minute)
	lease, _ := kv.Grant(ctx, 60)
	_, _ = kv.Range(ctx, "/")
	_, _ = kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/k", nil, lease)})
	_ = kv.KeepAlive(ctx, lease)
	_ = kv.Revoke(ctx, 4711)
	for _, op := range []string{"range", "txn", "grant", "keepalive", "revoke"} {
		if seen[op] != 1 {
			t.Errorf("%s was observed %d times", op, seen[op])
		}
	}
}
