package pgrw

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// at moves a server's position.
func (f *fakeServer) at(timeline uint32, lsn LSN) {
	f.set(func() { f.timeline, f.lsn = timeline, lsn })
}

func TestAReadWithATokenIsAnsweredWhereTheWriteIs(t *testing.T) {
	s := newScene(t)
	s.servers[0].at(1, 0x3000)
	s.servers[2].at(1, 0x2000) // s1 stays at 0x1000
	await(t, "the position of s2", func() bool {
		return s.Topology().Nodes[0].LSN+s.Topology().Nodes[1].LSN+s.Topology().Nodes[2].LSN == 0x6000
	})
	for range 20 {
		if got := s.ask(t.Context(), s.Replica(After(Token{7, 1, 0x2000}))); got != "s2" {
			t.Fatalf("%s answered", got)
		}
	}
}

func TestAReadWaitsForItsTokenAndThenAsksThePrimary(t *testing.T) {
	s := newScene(t)
	s.servers[0].at(1, 0x3000)
	token := Token{7, 1, 0x2000}
	if got := s.ask(t.Context(), s.Replica(After(token), CausalWait(time.Millisecond))); got != "s0" {
		t.Errorf("%s answered, want the primary", got)
	}
	if s.heard.count(EventCausalWait, "behind") != 1 || s.heard.count(EventFallback, "token") != 1 || s.heard.count(EventStaleRejected, "token") != 1 {
		t.Error("the observer did not hear of it")
	}
	looks := func() int { return s.servers[1].count(positionSQL) + s.servers[2].count(positionSQL) }
	before, done := looks(), make(chan error, 1)
	var address string
	go func() {
		done <- s.Replica(After(token), CausalWait(time.Minute)).QueryRow(t.Context(), "select address").Scan(&address)
	}()
	await(t, "the read to find a replica behind", func() bool { return looks() > before })
	s.servers[1].at(1, 0x2000)
	s.servers[2].at(1, 0x2000)
	if err := <-done; err != nil || address == s.servers[0].address() {
		t.Errorf("%s answered, error %v, want a replica that came to have it", address, err)
	}
	if s.heard.count(EventCausalWait, "satisfied") != 1 {
		t.Error("the observer did not hear of it")
	}
}

func TestATokenIsOnlyAskedForOnceOnAConnection(t *testing.T) {
	s := newScene(t)
	s.agent.lead(1, 0, s.servers[0], s.servers[2])
	s.replicas(1)
	s.servers[2].at(1, 0x2000)
	if err := s.Replica(After(Token{7, 1, 0x2000})).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := s.servers[2].count(positionSQL)
	for range 10 {
		if got := s.ask(t.Context(), s.Replica(After(Token{7, 1, 0x2000}))); got != "s2" {
			t.Fatalf("%s answered", got)
		}
	}
	if n := s.servers[2].count(positionSQL) - before; n != 0 {
		t.Errorf("the position was asked for %d times more", n)
	}
}

func TestNumbersOfABranchThatWasLeftProveNothing(t *testing.T) {
	s := newScene(t)
	s.promote(1)
	s.servers[1].at(2, 0x1800)
	s.servers[2].at(1, 0x5000) // a standby that went on with the old primary: a greater number, another history
	s.servers[0].close()
	await(t, "the new primary", func() bool { n, found := s.Topology().Primary(); return found && n.Timeline == 2 })
	if got := s.ask(t.Context(), s.Replica(After(Token{7, 2, 0x1700}))); got != "s1" {
		t.Errorf("%s answered, want the primary s1", got)
	}
	s.servers[2].at(2, 0x1700)
	await(t, "s2 to follow", func() bool { return s.ask(t.Context(), s.Replica(After(Token{7, 2, 0x1700}))) == "s2" })
}

func TestATokenOfAnEarlierTimelineIsKeptOrLostByTheHistory(t *testing.T) {
	s := newScene(t)
	s.agent.mu.Lock()
	s.agent.history = `[[1, 4096, "no recovery target specified", "2026-01-01T00:00:00+00:00", "s1"]]`
	s.agent.mu.Unlock()
	s.promote(1)
	s.servers[1].at(2, 0x3000)
	s.servers[2].at(2, 0x3000)
	s.servers[0].close()
	await(t, "the history", func() bool { return s.Cluster.now.Load().ends[1] == 0x1000 })
	await(t, "a replica to answer for a write that was kept", func() bool { return s.ask(t.Context(), s.Replica(After(Token{7, 1, 0x1000}))) == "s2" })
	if s.heard.count(EventWriteLost, "") != 0 {
		t.Error("a kept write was called lost")
	}
	if got := s.ask(t.Context(), s.Replica(After(Token{7, 1, 0x1001}))); got != "s1" || s.heard.count(EventWriteLost, "") != 1 {
		t.Errorf("%s answered for a write that was lost, want the primary s1, and the observer to hear of it", got)
	}
}

func TestAPrimaryOfAnEarlierTimelineDoesNotAnswerForALaterToken(t *testing.T) {
	s := newScene(t)
	s.maxWait = 30 * time.Millisecond
	_, err := s.Replica(FromPrimary(), After(Token{7, 2, 0x10})).Exec(t.Context(), "select")
	if !errors.Is(err, ErrNoPrimary) || s.heard.count(EventStaleRejected, "timeline") == 0 {
		t.Errorf("error %v, want ErrNoPrimary: s0 is of timeline 1", err)
	}
	if _, err := s.Primary().Exec(WithToken(t.Context(), Token{7, 2, 0x10}), "select"); !errors.Is(err, ErrNoPrimary) {
		t.Errorf("error %v, want ErrNoPrimary", err)
	}
}

func TestATokenThatSomebodyMadeUpHoldsNobodyForLong(t *testing.T) {
	s := newScene(t, WithMaxWait(time.Hour))
	for _, read := range []*DB{s.Replica(), s.Primary()} {
		if _, err := read.Exec(WithToken(t.Context(), Token{7, 1 << 30, 1}), "select"); !errors.Is(err, ErrTooStale) {
			t.Errorf("error %v, want ErrTooStale", err)
		}
	}
	if got := s.ask(t.Context(), s.Replica(After(Token{7, 1, 1 << 60}))); got != "s0" {
		t.Errorf("%s answered, want the primary s0", got)
	}
}

func TestATokenOfAnotherClusterIsThePrimarys(t *testing.T) {
	s := newScene(t)
	if got := s.ask(t.Context(), s.Replica(After(Token{8, 1, 0x10}))); got != "s0" || s.heard.count(EventForeignToken, "") != 1 {
		t.Errorf("%s answered, want the primary s0, and the observer to hear of it", got)
	}
}

func TestASessionReadsWhatItWrote(t *testing.T) {
	s := newScene(t)
	session := &Session{}
	ctx := WithSession(t.Context(), session)
	s.servers[0].at(1, 0x2000)
	if _, err := s.Primary().Exec(ctx, "put"); err != nil || session.Token() != (Token{7, 1, 0x2000}) {
		t.Errorf("token %v after a statement, error %v", session.Token(), err)
	}
	s.servers[0].at(1, 0x3000)
	if _, err := s.InTx(ctx, pgx.TxOptions{}, func(context.Context, pgx.Tx) error { return nil }); err != nil || session.Token().LSN != 0x3000 {
		t.Errorf("token %v after a transaction, error %v", session.Token(), err)
	}
	s.servers[0].at(1, 0x4000)
	_ = s.ask(ctx, s.Primary())
	if session.Token().LSN != 0x4000 {
		t.Errorf("token %v after a read of the primary", session.Token())
	}
	if got := s.ask(ctx, s.Replica(CausalWait(0))); got != "s0" {
		t.Errorf("%s answered, want the primary s0", got)
	}
	if token, err := s.Mark(t.Context()); err != nil || token.LSN != 0x4000 {
		t.Errorf("mark %v, error %v", token, err)
	}
}

func TestACommitOfAServerThatStopsHasATokenAllTheSame(t *testing.T) {
	nothing := func(context.Context, pgx.Tx) error { return nil }
	s := newScene(t)
	s.servers[0].set(func() { s.servers[0].mute = 1 })
	if token, err := s.InTx(t.Context(), pgx.TxOptions{}, nothing); err != nil || token != (Token{7, 1, 0x1000}) {
		t.Errorf("token %v, error %v, want the position that the primary gave when it was asked again", token, err)
	}
	session := &Session{}
	s.servers[0].set(func() { s.servers[0].mute = 1 })
	if _, err := s.Primary().Exec(WithSession(t.Context(), session), "put"); err != nil || session.Token() != (Token{7, 1, 0x1000}) {
		t.Errorf("token %v after a statement, error %v", session.Token(), err)
	}
	s.servers[0].set(func() { s.servers[0].mute = 1000 })
	began := time.Now()
	token, err := s.InTx(t.Context(), pgx.TxOptions{}, nothing)
	if took := time.Since(began); err != nil || token != (Token{7, 1, pinned}) || took > s.maxWait/2 {
		t.Fatalf("token %v, error %v after %s, want one that only a primary satisfies, and soon: it was committed", token, err, took)
	}
	s.maxWait = 50 * time.Millisecond
	if got := s.ask(t.Context(), s.Replica(After(token), CausalWait(0))); got != "s0" || s.heard.count(EventWriteLost, "") != 0 {
		t.Errorf("%s answered, want the primary s0, and no word of a lost write", got)
	}
}

func TestThePolicySaysWhenThePrimaryStandsIn(t *testing.T) {
	behind := After(Token{7, 1, 0x2000})
	for name, c := range map[string]struct {
		options []ReadOption
		want    error
	}{
		"always, no such tag":         {[]ReadOption{Tag("role", "reports")}, nil},
		"if none, no such tag":        {[]ReadOption{Tag("role", "reports"), OrPrimary(FallbackIfNone)}, nil},
		"never, no such tag":          {[]ReadOption{Tag("role", "reports"), OrPrimary(FallbackNever)}, ErrNoReplica},
		"always, token not replayed":  {[]ReadOption{behind, CausalWait(0)}, nil},
		"if none, token not replayed": {[]ReadOption{behind, CausalWait(0), OrPrimary(FallbackIfNone)}, ErrTooStale},
		"never, token not replayed":   {[]ReadOption{behind, CausalWait(0), OrPrimary(FallbackNever)}, ErrTooStale},
		"if none, all lag":            {[]ReadOption{MaxLag(10), OrPrimary(FallbackIfNone)}, ErrTooStale},
		"always, all lag":             {[]ReadOption{MaxLag(10)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.servers[0].at(1, 0x2000)
			await(t, "the lag to be known", func() bool {
				return s.Topology().Replicas()[0].Lag == 0x1000 && s.Topology().Replicas()[1].Lag == 0x1000
			})
			_, err := s.Replica(c.options...).Exec(t.Context(), "select")
			if !errors.Is(err, c.want) || s.servers[0].count("select") == 0 && c.want == nil {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestTagsAndZonesChooseReplicas(t *testing.T) {
	s := newScene(t)
	s.agent.tags(1, map[string]any{"zone": "eu"})
	s.agent.tags(2, map[string]any{"zone": "us", "noloadbalance": false})
	await(t, "the tags", func() bool {
		return s.Topology().Replicas()[0].Tags["zone"] != "" && s.Topology().Replicas()[1].Tags["zone"] != ""
	})
	for range 10 {
		if got := s.ask(t.Context(), s.Replica(Tag("zone", "us"))); got != "s2" {
			t.Errorf("%s has the tag us?", got)
		}
		if got := s.ask(t.Context(), s.Replica(PreferZone("eu"))); got != "s1" {
			t.Errorf("%s is in the zone eu?", got)
		}
	}
	s.agent.tags(1, map[string]any{"zone": "eu", "noloadbalance": true})
	await(t, "another zone to be taken when the preferred one has none", func() bool { return s.ask(t.Context(), s.Replica(PreferZone("eu"))) == "s2" })
}

func TestAReadGoesOnWhenItsReplicaDies(t *testing.T) {
	s := newScene(t, WithBalancer(RoundRobin()))
	for range 4 {
		s.ask(t.Context(), s.Replica())
	}
	s.servers[1].close()
	for range 10 {
		if got := s.ask(t.Context(), s.Replica()); got != "s2" {
			t.Fatalf("%s answered", got)
		}
	}
	s.servers[2].set(func() { s.servers[2].answer = failing("select", 1, reply{cut: true}) })
	if got := s.ask(t.Context(), s.Replica()); got != "s0" {
		t.Errorf("%s answered, want the primary: no replica is left", got)
	}
	if s.heard.count(EventRetry, "read") == 0 {
		t.Error("the observer did not hear of the retry")
	}
}

func TestAReadThatRecoveryCancelledIsReadElsewhere(t *testing.T) {
	s := newScene(t)
	for _, f := range s.servers[1:] {
		f.set(func() { f.answer = failing("select", 1, reply{code: stateSerialization}) })
	}
	if got := s.ask(t.Context(), s.Replica()); got != "s0" {
		t.Errorf("%s answered, want s0 after both replicas had conflicts", got)
	}
}
