package pgrw

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// insert is a function for InTx that counts its runs.
func insert(runs *int) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		*runs++
		_, err := tx.Exec(ctx, "put")
		return err
	}
}

func TestWritesGoToThePrimaryAndReadsOnlyWhereAskedTo(t *testing.T) {
	s := newScene(t)
	for range 20 {
		if got := s.ask(t.Context(), s.Primary()); got != "s0" {
			t.Fatalf("the primary's handle asked %s", got)
		}
		if got := s.ask(t.Context(), s.Replica()); got == "s0" {
			t.Fatal("a replica's handle asked the primary")
		}
	}
	if s.servers[1].count("set default_transaction_read_only = on") == 0 {
		t.Error("a session for reading was not made read-only")
	}
}

func TestAWriteWaitsForThePrimaryThatComes(t *testing.T) {
	s := newScene(t)
	s.agent.lead(1, -1, s.servers...)
	await(t, "no primary", func() bool { _, found := s.Topology().Primary(); return !found })
	done := make(chan error, 1)
	ctx := &awaited{Context: t.Context(), once: make(chan struct{})}
	go func() {
		_, err := s.Primary().Exec(ctx, "put")
		done <- err
	}()
	await(t, "the write to begin to wait", func() bool {
		select {
		case <-ctx.once:
			return true
		default:
			return false
		}
	})
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	s.promote(1)
	if err := <-done; err != nil || s.servers[1].count("put") != 1 {
		t.Errorf("error %v, %d puts on the new primary", err, s.servers[1].count("put"))
	}
	if s.heard.count(EventWait, "") != 1 {
		t.Error("nobody heard of the wait")
	}
}

// awaited is a context that tells when somebody waits for its end.
type awaited struct {
	context.Context
	first sync.Once
	once  chan struct{}
}

func (a *awaited) Done() <-chan struct{} {
	a.first.Do(func() { close(a.once) })
	return a.Context.Done()
}

func TestAWaitForAPrimaryIsBounded(t *testing.T) {
	orphaned := func(patience time.Duration) *scene {
		s := newScene(t)
		s.maxWait = patience // not at the start, which takes what it takes
		s.agent.lead(1, -1, s.servers...)
		await(t, "no primary", func() bool { _, found := s.Topology().Primary(); return !found })
		return s
	}
	if _, err := orphaned(30*time.Millisecond).Primary().Exec(t.Context(), "put"); !errors.Is(err, ErrNoPrimary) {
		t.Errorf("error %v, want ErrNoPrimary", err)
	}
	patient := orphaned(time.Hour) // so that only one of the two can be over
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := patient.Primary().Exec(ctx, "put"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestAStatementThatAStandbyRefusedGoesToTheNewPrimary(t *testing.T) {
	s := newScene(t)
	if _, err := s.Primary().Exec(t.Context(), "put"); err != nil {
		t.Fatal(err)
	}
	s.servers[0].set(func() { // it is demoted, and its session lives, before any agent tells
		s.servers[0].recovery = true
		s.servers[0].answer = func(sql string) reply {
			time.AfterFunc(5*time.Millisecond, func() { s.promote(1) })
			return reply{code: stateReadOnly}
		}
	})
	if _, err := s.Primary().Exec(t.Context(), "put"); err != nil {
		t.Errorf("error %v", err)
	}
	if s.servers[1].count("put") != 1 {
		t.Error("the new primary did not get it")
	}
}

func TestARefusalOfAPrimaryIsTheCallers(t *testing.T) {
	s := newScene(t)
	s.servers[0].set(func() { s.servers[0].answer = failing("put", 99, reply{code: stateReadOnly}) })
	var refused *pgconn.PgError
	if _, err := s.Primary().Exec(t.Context(), "put"); !errors.As(err, &refused) || s.servers[0].count("put") != 1 {
		t.Errorf("error %v after %d attempts, want the server's after one", err, s.servers[0].count("put"))
	}
}

func TestALostStatementIsUnknownAndNotSentAgain(t *testing.T) {
	s := newScene(t)
	s.servers[0].set(func() { s.servers[0].answer = failing("put", 1, reply{cut: true}) })
	_, err := s.Primary().Exec(t.Context(), "put")
	var unknown *UnknownError
	if !errors.Is(err, ErrCommitUnknown) || !errors.As(err, &unknown) || unknown.Server != s.servers[0].address() {
		t.Errorf("error %v, want ErrCommitUnknown of s0", err)
	}
	if n := s.servers[0].count("put"); n != 1 || s.heard.count(EventCommitUnknown, "") != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestALostCommitIsUnknownAndNotSentAgain(t *testing.T) {
	s := newScene(t)
	s.servers[0].set(func() { s.servers[0].answer = failing("commit", 1, reply{cut: true}) })
	runs := 0
	token, err := s.InTx(t.Context(), pgx.TxOptions{}, insert(&runs))
	if !errors.Is(err, ErrCommitUnknown) || !token.IsZero() || runs != 1 {
		t.Errorf("token %v, error %v after %d runs", token, err, runs)
	}
}

func TestATransactionBeginsAgainWhereThatIsSafe(t *testing.T) {
	for name, c := range map[string]struct {
		word string
		reply
		times, runs int
		fails       bool
	}{
		"a serialization failure in the middle":    {"put", reply{code: stateSerialization}, 2, 3, false},
		"a deadlock":                               {"put", reply{code: stateDeadlock}, 1, 2, false},
		"a serialization failure at the commit":    {"commit", reply{code: stateSerialization}, 1, 2, false},
		"a connection lost before the commit":      {"put", reply{cut: true}, 1, 2, false},
		"a connection lost at the begin":           {"begin", reply{cut: true}, 1, 1, false},
		"a violated constraint":                    {"put", reply{code: "23505"}, 1, 1, true},
		"a violated constraint seen at the commit": {"commit", reply{code: "23503"}, 1, 1, true},
		"serialization failures without end":       {"put", reply{code: stateSerialization}, 99, 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, WithMaxConflicts(3))
			s.servers[0].set(func() { s.servers[0].answer = failing(c.word, c.times, c.reply) })
			runs := 0
			token, err := s.InTx(t.Context(), pgx.TxOptions{}, insert(&runs))
			if (err != nil) != c.fails || runs != c.runs || token.IsZero() != c.fails {
				t.Errorf("token %v, error %v after %d runs; want %d", token, err, runs, c.runs)
			}
		})
	}
}

func TestATransactionOfADeposedPrimaryIsDoneOnTheNewOne(t *testing.T) {
	s := newScene(t)
	runs := 0
	_, err := s.InTx(t.Context(), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if runs++; runs == 1 {
			// s0 is gone from the network: it answers nothing, and says no farewell.
			s.servers[0].set(func() { s.servers[0].answer = failing("put", 1, reply{hang: true}) })
			s.promote(1)
		}
		_, err := tx.Exec(ctx, "put")
		return err
	})
	if err != nil || runs != 2 || s.servers[1].count("commit") != 1 {
		t.Errorf("error %v after %d runs, %d commits on s1", err, runs, s.servers[1].count("commit"))
	}
	if s.heard.count(EventDropped, "") == 0 {
		t.Error("the connection to the deposed primary was not closed")
	}
}

func TestAReadOfADeposedPrimaryIsReadFromTheNewOne(t *testing.T) {
	s := newScene(t)
	s.servers[0].set(func() {
		s.servers[0].answer = func(sql string) reply {
			if sql != "select address" {
				return reply{}
			}
			s.promote(1) // and s0 is gone from the network
			return reply{hang: true}
		}
	})
	if got := s.ask(t.Context(), s.Replica(FromPrimary())); got != "s1" {
		t.Errorf("%s answered, want s1", got)
	}
}

func TestTheEndOfATransactionIsInTxs(t *testing.T) {
	s := newScene(t)
	_, err := s.InTx(t.Context(), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) })
	if !errors.Is(err, errInTx) {
		t.Errorf("error %v", err)
	}
	if s.servers[0].count("rollback") != 1 {
		t.Error("it was not rolled back")
	}
}

func TestATransactionIsNoUseAfterItsEnd(t *testing.T) {
	s := newScene(t)
	tx, err := s.Primary().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = tx.Exec(t.Context(), "put")
	_, errQuery := tx.Query(t.Context(), "put")
	for _, err := range []error{err, errQuery, tx.QueryRow(t.Context(), "put").Scan(), tx.Commit(t.Context()), tx.Rollback(t.Context())} {
		if !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("error %v, want ErrTxClosed", err)
		}
	}
	if s.servers[0].count("put") != 0 {
		t.Error("a statement reached the server outside of its transaction")
	}
}

func TestAPanicInInTxRollsBack(t *testing.T) {
	s := newScene(t)
	func() {
		defer func() { _ = recover() }()
		_, _ = s.InTx(t.Context(), pgx.TxOptions{}, func(context.Context, pgx.Tx) error { panic("no") })
	}()
	if s.servers[0].count("rollback") != 1 {
		t.Error("it was not rolled back")
	}
	for _, p := range s.Pools() {
		if p.AcquiredConns() != 0 {
			t.Errorf("%s keeps a connection", p.Server)
		}
	}
}

func TestAnErrorThatTimeDoesNotHealIsReturnedAtOnce(t *testing.T) {
	for code, want := range map[string]bool{"28P01": true, "3D000": true, "57P03": false, "53300": false, "08006": false, stateReadOnly: false} {
		if got := hopeless(&pgconn.PgError{Code: code}); got != want {
			t.Errorf("%s: hopeless %v, want %v", code, got, want)
		}
	}
}

// A savepoint's Rollback is deferred, and comes after the end of its transaction, when
// the connection is somebody else's.
func TestASavepointEndsWithItsTransaction(t *testing.T) {
	s := newScene(t)
	tx, err := s.Primary().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Exec(t.Context(), "put"); err != nil {
		t.Error(err)
	}
	if err := kept.Commit(t.Context()); err != nil || s.servers[0].count("release savepoint") != 1 {
		t.Errorf("error %v, %d savepoints released", err, s.servers[0].count("release savepoint"))
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, errExec := left.Exec(t.Context(), "put")
	for _, err := range []error{kept.Rollback(t.Context()), errExec, left.Rollback(t.Context()), left.Commit(t.Context())} {
		if !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("error %v, want ErrTxClosed", err)
		}
	}
	if n := s.servers[0].count("put") + s.servers[0].count("rollback"); n != 1 {
		t.Errorf("%d statements, want the one from before the end", n)
	}
}
