package testbed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// RowEvery is how often a row is due.
	RowEvery = 5 * time.Millisecond
)

// Patience is how long a writer waits.
type Patience struct {
	// Row bounds one insert, and one look for a writable server among all hosts.
	Row time.Duration
	// Host bounds the attempt on one host.
	Host time.Duration
}

// Ordinary is a client's patience: one that waits longer measures it.
var Ordinary = Patience{Row: 2 * time.Second, Host: connectLimit}

// row is one promise of the database, or its absence.
type row struct {
	due, acked time.Time // acked is zero when it was not acknowledged
}

// Writer inserts numbered rows over one session at a time, which looks for the
// writable server among all. It is an open loop: a row is due every RowEvery
// whatever became of the one before, and one that had to wait counts from when it
// was due.
type Writer struct {
	dsn, table string
	patience   Patience
	cancel     context.CancelFunc
	done       chan struct{}

	mu       sync.Mutex
	rows     map[int64]row
	acks     []time.Time
	failures []Failure
	refused  int // attempts to connect that failed
	began    time.Time
}

// Failure is a statement that was sent and not acknowledged.
type Failure struct {
	Seq int64
	At  time.Time
	// Unknown tells that the row may be there or not: the session ended before an
	// answer came. Otherwise the server has said that it is not.
	Unknown bool
	Err     error
}

// StartWriter makes the table and starts to write until Stop.
func (c *Cluster) StartWriter(ctx context.Context) (*Writer, error) {
	return StartWriter(ctx, c.DSN())
}

// StartWriter is Cluster.StartWriter on any way to the writable server, such as a
// load balancer.
func StartWriter(ctx context.Context, dsn string) (*Writer, error) {
	return StartWriterWith(ctx, dsn, Ordinary)
}

// StartWriterWith is StartWriter with another patience.
func StartWriterWith(ctx context.Context, dsn string, p Patience) (*Writer, error) {
	session, err := connect(ctx, dsn, patientLimit, nil)
	if err != nil {
		return nil, fmt.Errorf("start a writer: %w", err)
	}
	defer session.Close(ctx)
	w := &Writer{dsn: dsn, patience: p, table: fmt.Sprintf("writer_%d", time.Now().UnixNano()), done: make(chan struct{}), rows: map[int64]row{}}
	if _, err := session.Exec(ctx, "create table "+w.table+" (seq bigint not null)"); err != nil {
		return nil, fmt.Errorf("start a writer: %w", err)
	}
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.began = time.Now()
	go w.run(ctx)
	return w, nil
}

func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	var session *pgx.Conn
	timer := time.NewTimer(0)
	defer timer.Stop()
	for seq := int64(1); ; seq++ {
		due := w.began.Add(time.Duration(seq) * RowEvery)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			closeSession(session)
			return
		case <-timer.C:
		}
		for session == nil && ctx.Err() == nil {
			session = w.open(ctx)
		}
		if session != nil && !w.insert(session, seq, due) {
			closeSession(session)
			session = nil
		}
	}
}

// open tries to connect; it is called again at once, so it pauses a little: as long as the
// attempt took, in which every server forks a process, and less than what it may add to a gap.
func (w *Writer) open(ctx context.Context) *pgx.Conn {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, w.patience.Row)
	defer cancel()
	session, err := connect(limited, w.dsn, w.patience.Host, nil)
	if err == nil {
		return session
	}
	w.mu.Lock()
	w.refused++
	w.mu.Unlock()
	pause := time.NewTimer(min(max(2*time.Millisecond, time.Since(began)), 50*time.Millisecond))
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
	return nil
}

// insert is false when the session is of no more use. It is not cancelled by
// Stop: the outcome of what was sent is awaited.
func (w *Writer) insert(session *pgx.Conn, seq int64, due time.Time) bool {
	ctx, cancel := context.WithTimeout(context.Background(), w.patience.Row)
	defer cancel()
	_, err := session.Exec(ctx, "insert into "+w.table+" values ($1)", seq)
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failures = append(w.failures, Failure{Seq: seq, At: now, Unknown: !refusedByServer(err), Err: err})
		return false
	}
	w.rows[seq] = row{due: due, acked: now}
	w.acks = append(w.acks, now)
	return true
}

// refusedByServer tells an error after which the row is surely not there.
func refusedByServer(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Severity == "ERROR"
}

func closeSession(session *pgx.Conn) {
	if session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = session.Close(ctx)
}

// Stop ends the writing, after the row that is under way, and may be repeated.
func (w *Writer) Stop() {
	w.cancel()
	<-w.done
}

// Acknowledged counts the rows that were promised.
func (w *Writer) Acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rows)
}

// Last is the newest row that was promised, 0 for none.
func (w *Writer) Last() (newest int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := range w.rows {
		newest = max(newest, seq)
	}
	return newest
}

// Failures are the statements that were sent and not acknowledged.
func (w *Writer) Failures() []Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failures)
}

// Gap is the longest time without an acknowledgement that ends after from, and
// when it began; the one that goes on is included while the writer runs.
func (w *Writer) Gap(from time.Time) (longest time.Duration, began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.began
	look := func(at time.Time) {
		if at.After(from) && at.Sub(last) > longest {
			longest, began = at.Sub(last), last
		}
		last = at
	}
	for _, at := range w.acks {
		look(at)
	}
	select {
	case <-w.done:
	default:
		look(time.Now())
	}
	return longest, began
}

// Late is the longest that a row due after from had to wait for its
// acknowledgement.
func (w *Writer) Late(from time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest time.Duration
	for _, r := range w.rows {
		if r.due.After(from) {
			longest = max(longest, r.acked.Sub(r.due))
		}
	}
	return longest
}

// Resumed waits until rows are acknowledged again after an instant.
func (w *Writer) Resumed(ctx context.Context, after time.Time, limit time.Duration) error {
	return Wait(ctx, limit, "acknowledged writes", func(context.Context) string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if count := len(w.acks); count == 0 || !w.acks[count-1].After(after) {
			return fmt.Sprintf("none after the fault; %d failed statements, %d failed connections", len(w.failures), w.refused)
		}
		return ""
	})
}

// Spread names a standby in service that does not have a row yet, nor perhaps the table:
// a failover to it would lose it. Empty when there is none.
func (w *Writer) Spread(ctx context.Context, c *Cluster, row int64) string {
	for _, n := range c.Nodes {
		if !n.Running() || n.Health(ctx, "/replica") != 200 {
			continue
		}
		session, err := n.Connect(ctx)
		if err != nil {
			return n.Name + ": " + err.Error()
		}
		var has bool
		err = session.QueryRow(ctx, "select exists (select from "+w.table+" where seq >= $1)", row).Scan(&has)
		closeSession(session)
		switch {
		case err != nil:
			return n.Name + ": " + err.Error()
		case !has:
			return n.Name + " does not have it"
		}
	}
	return ""
}

// Lost is a row that was promised and is not there.
type Lost struct {
	Seq   int64
	Acked time.Time
}

// Verify looks on a server for every row that was acknowledged. Stop comes first.
func (w *Writer) Verify(ctx context.Context, n *Node) ([]Lost, error) {
	session, err := n.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify the rows on %s: %w", n.Name, err)
	}
	defer session.Close(ctx)
	present := map[int64]bool{}
	rows, err := session.Query(ctx, "select seq from "+w.table)
	if err != nil {
		return nil, fmt.Errorf("verify the rows on %s: %w", n.Name, err)
	}
	var seq int64
	if _, err := pgx.ForEachRow(rows, []any{&seq}, func() error { present[seq] = true; return nil }); err != nil {
		return nil, fmt.Errorf("verify the rows on %s: %w", n.Name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var lost []Lost
	for seq, r := range w.rows {
		if !present[seq] {
			lost = append(lost, Lost{seq, r.acked})
		}
	}
	slices.SortFunc(lost, func(a, b Lost) int { return int(a.Seq - b.Seq) })
	return lost, nil
}
