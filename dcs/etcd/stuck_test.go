package etcd_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

// fake is a member of etcd as far as leases and reads go. A stuck one is a leader
// whose disk hangs: it answers keepalives from memory, under the term it once had,
// and nothing else.
type fake struct {
	pb.UnimplementedKVServer
	pb.UnimplementedLeaseServer
	term   atomic.Uint64
	stuck  atomic.Bool
	silent atomic.Bool  // answers no keepalive either
	kept   atomic.Int64 // keepalives answered
	ttl    atomic.Int64 // the lease's
	addr   string
}

func newFake(t *testing.T, term uint64) *fake {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: listener.Addr().String()}
	f.term.Store(term)
	f.ttl.Store(5)
	server := grpc.NewServer()
	pb.RegisterKVServer(server, f)
	pb.RegisterLeaseServer(server, f)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return f
}

func (f *fake) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 1, Revision: 1, RaftTerm: f.term.Load()}
}

func (f *fake) Range(ctx context.Context, _ *pb.RangeRequest) (*pb.RangeResponse, error) {
	if f.stuck.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &pb.RangeResponse{Header: f.header()}, nil
}

func (f *fake) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	for {
		ask, err := stream.Recv()
		if err != nil {
			return err
		}
		if f.silent.Load() {
			continue
		}
		f.kept.Add(1) // before: who has the answer finds it counted
		if err := stream.Send(&pb.LeaseKeepAliveResponse{Header: f.header(), ID: ask.ID, TTL: f.ttl.Load()}); err != nil {
			return err
		}
	}
}

// overtake has all members but one elect another leader.
func overtake(t *testing.T, members []*fake, stuck *fake) {
	for _, m := range members {
		if m != stuck {
			m.term.Add(1)
		}
	}
	stuck.stuck.Store(true)
}

// trio is three members, and a client that asks the next after resendAfter.
func trio(t *testing.T, resendAfter time.Duration) (members []*fake, kv *etcd.KV) {
	var endpoints []string
	for range 3 {
		m := newFake(t, 7)
		members, endpoints = append(members, m), append(endpoints, m.addr)
	}
	return members, open(t, etcd.Options{Endpoints: endpoints, ResendAfter: resendAfter})
}

func TestTheKeepaliveOfAMemberThatMissedAnElectionIsNotBelieved(t *testing.T) {
	members, kv := trio(t, 50*time.Millisecond)
	ctx := within(t, time.Minute)
	if err := kv.KeepAlive(ctx, 1); err != nil {
		t.Fatal(err)
	}
	// All are told of a new lease, and one that falls silent with that question unanswered
	// would be waited for as long as ctx lasts before it is asked again.
	for _, m := range members {
		for m.kept.Load() == 0 {
			if ctx.Err() != nil {
				t.Fatal("a member was not told of the lease")
			}
			pass(time.Millisecond)
		}
	}
	overtake(t, members, members[0])
	if _, err := kv.Range(ctx, "/"); err != nil { // another member's answer tells of the election
		t.Fatal(err)
	}
	members[1].silent.Store(true)
	members[2].silent.Store(true)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := kv.KeepAlive(short, 1); err == nil {
		t.Errorf("error is %v, and only the stuck member has answered", err)
	}
	members[2].silent.Store(false)
	before := members[2].kept.Load()
	if err := kv.KeepAlive(ctx, 1); err != nil || members[2].kept.Load() == before {
		t.Errorf("error %v, %d answers of the member in the newer term", err, members[2].kept.Load()-before)
	}
}

// A leader whose disk hangs revokes, when it comes back, the leases it has not heard of.
func TestEveryMemberIsToldOfKeepalivesWithinTheLease(t *testing.T) {
	members, kv := trio(t, 50*time.Millisecond)
	ctx := within(t, time.Minute)
	overtake(t, members, members[0])
	if _, err := kv.Range(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		m.ttl.Store(1) // half a second between
	}
	const times = 3
	for _, m := range members {
		for m.kept.Load() < times {
			if err := kv.KeepAlive(ctx, 1); err != nil {
				t.Fatalf("a member heard of %d keepalives: %v", m.kept.Load(), err)
			}
			pass(20 * time.Millisecond)
		}
	}
}

func TestMostKeepalivesAreOneRequest(t *testing.T) {
	members, kv := trio(t, 10*time.Second) // none is slow, however busy the machine
	ctx := within(t, time.Minute)
	for _, m := range members {
		m.ttl.Store(60)
	}
	const times = 20
	for range times {
		if err := kv.KeepAlive(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	var all int64
	for _, m := range members {
		all += m.kept.Load()
	}
	if most := int64(times + len(members) - 1); all < times || all > most {
		t.Errorf("%d requests for %d keepalives, want %d at most", all, times, most)
	}
}

func TestAKeepaliveGoesOnWhenNobodyKnowsTheNewerTerm(t *testing.T) {
	m := newFake(t, 7)
	kv := open(t, etcd.Options{Endpoints: []string{m.addr}})
	ctx := within(t, time.Minute)
	if _, err := kv.Range(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	m.term.Store(1) // as of an etcd that was set back
	for range 5 {
		if err := kv.KeepAlive(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	if asked := m.kept.Load(); asked > 6 {
		t.Errorf("5 keepalives took %d requests", asked)
	}
}

func TestAHungMemberDoesNotHoldUpAKeepalive(t *testing.T) {
	members, kv := trio(t, 50*time.Millisecond)
	ctx := within(t, time.Minute)
	members[0].silent.Store(true)
	members[1].silent.Store(true)
	began := time.Now()
	for range 10 {
		if err := kv.KeepAlive(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 20*time.Second { // one that is waited for costs all of ctx
		t.Errorf("10 keepalives took %s", took)
	}
}

func TestAMemberThatComesBackIsToldAgain(t *testing.T) {
	members, kv := trio(t, 50*time.Millisecond)
	ctx := within(t, time.Minute)
	keep := func() {
		t.Helper()
		// Long enough for who answers; the silent one is waited for as long before it is
		// asked again.
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := kv.KeepAlive(short, 1); err != nil {
			t.Fatal(err)
		}
	}
	members[0].silent.Store(true)
	keep()
	members[0].silent.Store(false)
	for members[0].kept.Load() == 0 {
		if ctx.Err() != nil {
			t.Fatal("it was not told")
		}
		keep()
		pass(10 * time.Millisecond)
	}
}

func TestAWatchLeavesAMemberThatKeepsAChangeToItself(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	paths := []*link{newLink(t, hostPort(m.ClientURL())), newLink(t, hostPort(m.ClientURL()))}
	kv := open(t, etcd.Options{
		Endpoints:   []string{paths[0].addr(), paths[1].addr()},
		ResendAfter: 100 * time.Millisecond, SilentAfter: time.Second, // which two reads in a row may take on a machine with too much to do
	})
	ctx := within(t, 2*time.Minute)
	beside := rawClient(t, m.ClientURL())
	put := func() int64 {
		t.Helper()
		resp, err := beside.Put(ctx, "/x/k", "")
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	first := put()
	events := kv.Watch(ctx, "/x/", first)
	other := kv.Watch(ctx, "/x/", first) // the stream of another watch is no way out
	expect := func(revision int64, limit time.Duration) {
		t.Helper()
		for _, watch := range []<-chan dcs.WatchEvent{events, other} {
			select {
			case e := <-watch:
				if e.Err != nil || e.Revision != revision {
					t.Fatalf("event is %+v, want revision %d", e, revision)
				}
			case <-time.After(limit):
				t.Fatalf("nothing within %s, want revision %d", limit, revision)
			}
		}
	}
	const soon = 10 * time.Second
	expect(put(), soon)
	// Gone silent without a broken connection, which takes 11.5 s to be noticed.
	for _, path := range paths {
		path.freeze()
		expect(put(), soon)
		path.melt()
		expect(put(), soon)
	}
}

// TestAWatchEndsWhenNobodyCanTellWhetherAnythingHappens: the library waits for ever for a connection, without a word.
func TestAWatchEndsWhenNobodyCanTellWhetherAnythingHappens(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	for name, cut := range map[string]func(*link){
		"nothing passes": (*link).freeze,
		"nobody listens": func(l *link) { l.listener.Close(); l.turn("127.0.0.1:1") },
	} {
		t.Run(name, func(t *testing.T) {
			path := newLink(t, hostPort(m.ClientURL()))
			kv := open(t, etcd.Options{Endpoints: []string{path.addr()}, ResendAfter: 50 * time.Millisecond, SilentAfter: 200 * time.Millisecond})
			ctx := within(t, time.Minute)
			snap, err := kv.Range(ctx, "/x/")
			if err != nil {
				t.Fatal(err)
			}
			events := kv.Watch(ctx, "/x/", snap.Revision)
			cut(path)
			if e := <-events; e.Err == nil || ctx.Err() != nil {
				t.Errorf("event is %+v, want the watch to end", e)
			} else {
				t.Log(e.Err)
			}
		})
	}
}

// TestAWatchEndsWhenItsStoreWasReplaced: one that knows less has nothing to tell, until it has caught up with what was delivered.
func TestAWatchEndsWhenItsStoreWasReplaced(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	start := func(dir string) *embedded.Member {
		t.Helper()
		m, err := embedded.New(embedded.Options{Dir: dir, UnsafeNoFsync: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		return m
	}
	write := func(m *embedded.Member, times int) {
		t.Helper()
		client := rawClient(t, m.ClientURL())
		for range times {
			if _, err := client.Put(ctx, "/x/k", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	first := start(dir)
	write(first, 3)
	first.Close()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	m := start(dir)
	write(m, 20)
	path := newLink(t, hostPort(m.ClientURL()))
	watch := func() <-chan dcs.WatchEvent {
		t.Helper()
		path.turn(hostPort(m.ClientURL()))
		kv := open(t, etcd.Options{Endpoints: []string{path.addr()}}) // patient enough for a start of etcd
		snap, err := kv.Range(ctx, "/x/")
		if err != nil {
			t.Fatal(err)
		}
		return kv.Watch(ctx, "/x/", snap.Revision)
	}
	ends := func(events <-chan dcs.WatchEvent, why string) {
		t.Helper()
		if e := <-events; e.Err == nil || !strings.Contains(e.Err.Error(), why) {
			t.Errorf("event is %+v, want the watch to end: %s", e, why)
		}
	}
	events := watch()
	other := start(t.TempDir())
	write(other, 50)
	path.turn(hostPort(other.ClientURL()))
	ends(events, "was watched")

	events = watch()
	path.turn("127.0.0.1:1") // or its end would be told
	m.Close()
	restored := start(backup)
	path.turn(hostPort(restored.ClientURL()))
	ends(events, "it was set back")
}

func TestASilentWatchInAQuietClusterStaysWhereItIs(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	path := newLink(t, hostPort(m.ClientURL()))
	kv := open(t, etcd.Options{Endpoints: []string{path.addr()}, SilentAfter: 50 * time.Millisecond})
	ctx := within(t, time.Minute)
	beside := rawClient(t, m.ClientURL())
	resp, err := beside.Put(ctx, "/x/k", "")
	if err != nil {
		t.Fatal(err)
	}
	events := kv.Watch(ctx, "/x/", resp.Header.Revision)
	if _, err := beside.Put(ctx, "/elsewhere", ""); err != nil { // no news of ours
		t.Fatal(err)
	}
	pass(500 * time.Millisecond) // ten times silent
	if resp, err = beside.Put(ctx, "/x/k", ""); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Err != nil || e.Revision != resp.Header.Revision {
		t.Errorf("event is %+v", e)
	}
}

func TestAWatchThatIsUsuallySilentIsSeldomAskedAbout(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	var asked atomic.Int64
	kv := open(t, etcd.Options{
		Endpoints: []string{m.ClientURL()}, SilentAfter: 100 * time.Millisecond,
		Now: func() cluster.Instant { return 1 },
		Observe: func(op string, _ time.Duration, _ error) {
			if op == "range" {
				asked.Add(1)
			}
		},
	})
	ctx := within(t, time.Minute)
	beside := rawClient(t, m.ClientURL())
	resp, err := beside.Put(ctx, "/x/k", "")
	if err != nil {
		t.Fatal(err)
	}
	events := kv.Watch(ctx, "/x/", resp.Header.Revision)
	const usual = 300 * time.Millisecond // three times silent between beats
	last := time.Now()
	beat := func() (late bool) {
		t.Helper()
		if _, err := beside.Put(ctx, "/x/k", ""); err != nil {
			t.Fatal(err)
		}
		<-events
		late = time.Since(last) > usual+usual/3
		last = time.Now()
		pass(usual)
		return late
	}
	for range 3 {
		beat()
	}
	learnt, most := asked.Load(), int64(3)
	for range 10 {
		if beat() { // a busy machine: an interval that was not usual is asked about, for longer each time
			most += 5
		}
	}
	if more := asked.Load() - learnt; more > most { // of 20 to 30
		t.Errorf("asked %d times in 10 intervals that had become usual, want %d at most", more, most)
	}
}
