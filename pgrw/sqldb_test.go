package pgrw

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestDatabaseSQLFollowsThePrimary(t *testing.T) {
	s := newScene(t)
	db := s.Primary().SQL()
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "put"); err != nil || s.servers[0].count("put") != 1 {
		t.Fatalf("error %v", err)
	}
	s.promote(1)
	await(t, "the new primary", func() bool { n, _ := s.Topology().Primary(); return n.Name == "s1" })
	if _, err := db.ExecContext(t.Context(), "put"); err != nil || s.servers[1].count("put") != 1 {
		t.Errorf("error %v, %d on s1", err, s.servers[1].count("put"))
	}
	await(t, "closed connections to be forgotten", func() bool {
		srv := s.Cluster.now.Load().primary
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.live) > 0
	})
}

func TestDatabaseSQLReadsWithTheTokenOfTheContext(t *testing.T) {
	s := newScene(t)
	db := s.Replica(CausalWait(time.Millisecond)).SQL()
	defer db.Close()
	server := func(ctx context.Context) (address string) {
		if err := db.QueryRowContext(ctx, "select").Scan(&address); err != nil {
			t.Fatal(err)
		}
		return address
	}
	if server(t.Context()) == s.servers[0].address() {
		t.Error("the primary answered")
	}
	s.servers[0].at(1, 0x2000)
	if server(WithToken(t.Context(), Token{7, 1, 0x2000})) != s.servers[0].address() {
		t.Error("a replica answered that has not replayed the token")
	}
	await(t, "a replica to answer again", func() bool { return server(t.Context()) != s.servers[0].address() })
}

func TestBatchesAndCopiesAreWritesToo(t *testing.T) {
	s := newScene(t)
	b := &pgx.Batch{}
	b.Queue("put 1")
	b.Queue("put 2")
	if err := s.Primary().SendBatch(t.Context(), b).Close(); err != nil || s.servers[0].count("put") != 2 {
		t.Errorf("error %v, %d statements", err, s.servers[0].count("put"))
	}
	s.servers[0].set(func() { s.servers[0].answer = failing("put", 1, reply{cut: true}) })
	if err := s.Primary().SendBatch(t.Context(), b).Close(); !errors.Is(err, ErrCommitUnknown) {
		t.Errorf("a batch that was cut: %v", err)
	}
	if _, err := s.Primary().CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"c"}, pgx.CopyFromRows(nil)); err == nil {
		t.Error("the fake server took a COPY")
	}
	conn, err := s.Primary().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Release()
	s.awaitIdle()
}

func TestATransactionThatABatchBeginsHoldsItsConnection(t *testing.T) {
	s := newScene(t)
	session := NewSession(Token{})
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{})
	b.Queue("put 1")
	results := s.Primary().SendBatch(WithSession(t.Context(), session), b)
	begun := results.Tx()
	if err := results.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := begun.Exec(t.Context(), "put 2"); err != nil {
		t.Fatal(err)
	}
	if err := begun.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.servers[0].count("commit"); n != 1 || session.Token().IsZero() {
		t.Errorf("%d commits, token %v", n, session.Token())
	}
	s.awaitIdle()
}

func TestABatchThatNobodyTookHasAClosedTransaction(t *testing.T) {
	s := newScene(t)
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{})
	results := s.Replica(Tag("zone", "nowhere"), OrPrimary(FallbackNever)).SendBatch(t.Context(), b)
	if err := results.Tx().Rollback(t.Context()); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("a transaction that never was: %v", err)
	}
	if err := results.Close(); !errors.Is(err, ErrNoReplica) {
		t.Errorf("the batch: %v, want ErrNoReplica", err)
	}
}

// awaitIdle waits until every connection was given back.
func (s *scene) awaitIdle() {
	s.Helper()
	await(s.TB, "all connections to be given back", func() bool {
		busy := int32(0)
		for _, p := range s.Pools() {
			busy += p.AcquiredConns()
		}
		return busy == 0
	})
}
