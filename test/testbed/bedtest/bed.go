// Package bedtest is testbed for tests: what goes wrong fails the test, what was
// started ends with it, and logs are shown only when it failed.
package bedtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// startLimit bounds the way from nothing to a healthy cluster.
const startLimit = 90 * time.Second

// waitLeast is the shortest bound of a wait: it is there to end a test that would wait
// for ever, not to measure a machine that has thirty times more to do than it can. What a
// test says of time it says by GapAtMost, or by the order of two events.
const waitLeast = 40 * time.Second

// defaultTTL is the lease of tests that do not wait for its end: no process of a primary
// that has to wait for a processor for some seconds may lose it.
const defaultTTL = 8 * time.Second

// logLines is how much of each log a failed test shows.
const logLines = 120

// storyLines is how many lines of all agents together tell how it came about.
const storyLines = 60

// Bed is a cluster of one test.
type Bed struct {
	*testbed.Cluster
	t *testing.T
	// told: the story of a failed test was shown.
	told bool
}

// New makes a cluster and waits until it is healthy (unless it is left unstarted).
func New(t *testing.T, o testbed.Options) *Bed {
	t.Helper()
	began := time.Now()
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	c, err := testbed.Start(t.Context(), o)
	b := &Bed{Cluster: c, t: t}
	t.Cleanup(b.close)
	if err != nil {
		t.Fatal(err)
	}
	if o.Unstarted || len(c.Nodes) == 0 {
		return b
	}
	b.Healthy(startLimit)
	t.Logf("settled %v after the first agent (%v in all)", time.Since(c.Began()).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	return b
}

func (b *Bed) close() {
	b.t.Helper()
	if b.t.Failed() {
		b.tell()
		b.showLogs()
	}
	if err := b.Cluster.Close(); err != nil {
		b.t.Errorf("close the cluster: %v", err)
	}
}

// tell shows, once, what the agents said last, in the order of time: a record of a run may keep the beginning of what a
// failed test shows and no more.
func (b *Bed) tell() {
	b.t.Helper()
	if b.told {
		return
	}
	b.told = true
	lines := []string{}
	for _, n := range b.Nodes {
		for line := range strings.Lines(n.Log()) {
			if strings.HasPrefix(line, "time=") { // and not what its server says
				lines = append(lines, n.Name+" "+strings.TrimRight(line, "\n"))
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		_, a, _ = strings.Cut(a, "time=")
		_, b, _ = strings.Cut(b, "time=")
		return strings.Compare(a, b)
	})
	b.t.Logf("== the agents\n%s", strings.Join(lines[max(0, len(lines)-storyLines):], "\n"))
}

func (b *Bed) showLogs() {
	b.t.Helper()
	logs := []string{}
	for _, n := range b.Nodes {
		logs = append(logs, n.LogPath())
	}
	more, _ := filepath.Glob(filepath.Join(b.Dir(), "etcd", "*.log")) // the pattern is well formed
	for _, path := range append(logs, more...) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		b.t.Logf("== %s\n%s", path, strings.Join(lines[max(0, len(lines)-logLines):], "\n"))
	}
}

// T is the test of the cluster.
func (b *Bed) T() *testing.T { return b.t }

// Key reads a key of the cluster, empty when there is none.
func (b *Bed) Key(name string) string {
	b.t.Helper()
	value, _, err := b.Cluster.Key(b.t.Context(), name)
	b.Must(err)
	return value
}

// Must fails the test on an error.
func (b *Bed) Must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Healthy waits for a healthy cluster that all know of (testbed's Settled) and returns its
// primary.
func (b *Bed) Healthy(limit time.Duration) *testbed.Node {
	b.t.Helper()
	n, err := b.Cluster.Settled(b.t.Context(), max(limit, waitLeast))
	b.Must(err)
	return n
}

// Primary waits for a primary other than the given nodes.
func (b *Bed) Primary(limit time.Duration, except ...*testbed.Node) *testbed.Node {
	b.t.Helper()
	n, err := b.Cluster.Primary(b.t.Context(), max(limit, waitLeast), except...)
	b.Must(err)
	return n
}

// Standby is a node that is not the primary.
func (b *Bed) Standby(primary *testbed.Node) *testbed.Node {
	b.t.Helper()
	return b.Others(primary)[0]
}

// Wait waits for a condition, which returns what is in its way.
func (b *Bed) Wait(limit time.Duration, what string, missing func(context.Context) string) {
	b.t.Helper()
	b.Must(testbed.Wait(b.t.Context(), max(limit, waitLeast), what, missing))
}

// Status is what a node says of itself once it answers and could look at its server:
// after a look that failed, as one does on a busy machine, a status shows nothing of it.
func (b *Bed) Status(n *testbed.Node) (s testbed.Status) {
	b.t.Helper()
	b.WaitStatus(n, waitLeast, "known", func(now testbed.Status) bool { s = now; return now.State != "unknown" })
	return s
}

// Answer is the code of a node's answer to a health check: none in time is no answer.
func (b *Bed) Answer(n *testbed.Node, path string) (code int) {
	b.t.Helper()
	b.Wait(waitLeast, n.Name+" to answer", func(ctx context.Context) string {
		if code = n.Health(ctx, path); code == 0 {
			return "it does not"
		}
		return ""
	})
	return code
}

// WaitText waits until a query on a node has one value.
func (b *Bed) WaitText(n *testbed.Node, query, want string) {
	b.t.Helper()
	b.Wait(waitLeast, query+" on "+n.Name+" to be "+want, func(ctx context.Context) string {
		got, err := n.Text(ctx, query)
		switch {
		case err != nil:
			return err.Error()
		case got != want:
			return "it is " + got
		}
		return ""
	})
}

// WaitStatus waits until a node's status is as wanted.
func (b *Bed) WaitStatus(n *testbed.Node, limit time.Duration, what string, want func(testbed.Status) bool) {
	b.t.Helper()
	b.Wait(limit, n.Name+" to be "+what, func(ctx context.Context) string {
		s, err := n.Status(ctx)
		switch {
		case err != nil:
			return err.Error()
		case !want(s):
			return s.String()
		}
		return ""
	})
}

// Text runs a query on a node and returns its one value.
func (b *Bed) Text(n *testbed.Node, query string) string {
	b.t.Helper()
	text, err := n.Text(b.t.Context(), query)
	if err != nil {
		b.t.Fatalf("%s on %s: %v", query, n.Name, err)
	}
	return text
}

// Ctl runs a verb and wants it to succeed.
func (b *Bed) Ctl(verb string, args ...string) testbed.Result {
	b.t.Helper()
	r, err := b.Cluster.Ctl(b.t.Context(), verb, args...)
	b.Must(err)
	if r.Code != 0 {
		b.t.Fatalf("pgkeeper %s %s: %v", verb, strings.Join(args, " "), r)
	}
	return r
}

// Refused runs a verb and wants exit code 1 with one line that holds the words.
func (b *Bed) Refused(words, verb string, args ...string) testbed.Result {
	b.t.Helper()
	r, err := b.Cluster.Ctl(b.t.Context(), verb, args...)
	b.Must(err)
	if lines := strings.Count(strings.TrimSpace(r.Err), "\n") + 1; r.Code != 1 || lines != 1 || !strings.Contains(r.Err, words) {
		b.t.Errorf("pgkeeper %s %s: want exit code 1 and one line on stderr with %q, got %v", verb, strings.Join(args, " "), words, r)
	}
	return r
}

// Observed is a writer and a watcher on the cluster.
type Observed struct {
	Writer  *testbed.Writer
	Watcher *testbed.Watcher
	b       *Bed
	at      time.Time
	// everywhere is a row that every standby has had: no failover may lose one up to it.
	everywhere int64
}

// patient is the writer of a test that looks for what no client may notice: only its
// server fails its statements, and not how busy the machine is.
var patient = testbed.Patience{Row: 6 * time.Second, Host: time.Second}

// Observe starts a writer and a watcher, and waits until every standby has rows that were
// acknowledged.
func (b *Bed) Observe() *Observed {
	b.t.Helper()
	return b.observe(b.DSN(), patient)
}

// ObserveThrough is Observe with a writer that uses another way to the cluster, and that
// has a client's ordinary patience with it.
func (b *Bed) ObserveThrough(dsn string) *Observed {
	b.t.Helper()
	return b.observe(dsn, testbed.Ordinary)
}

func (b *Bed) observe(dsn string, p testbed.Patience) *Observed {
	b.t.Helper()
	writer, err := testbed.StartWriterWith(b.t.Context(), dsn, p)
	b.Must(err)
	b.t.Cleanup(writer.Stop)
	watcher, err := b.StartWatcher(b.t.Context())
	b.Must(err)
	b.t.Cleanup(watcher.Stop)
	o := &Observed{Writer: writer, Watcher: watcher, b: b}
	b.Wait(waitLeast, "the writer's first rows", func(context.Context) string {
		if count := writer.Acknowledged(); count < 20 {
			return fmt.Sprintf("%d rows", count)
		}
		return ""
	})
	o.Spread()
	return o
}

// Spread waits until every standby in service has the last row that was acknowledged by
// now: what a failover may lose begins after it.
func (o *Observed) Spread() {
	o.b.t.Helper()
	row := o.Writer.Last()
	o.b.Wait(waitLeast, fmt.Sprintf("row %d on every standby", row), func(ctx context.Context) string { return o.Writer.Spread(ctx, o.b.Cluster, row) })
	o.everywhere = row
}

// failed is when the first statement failed after the fault; zero when none did.
func (o *Observed) failed() time.Time {
	for _, f := range o.Writer.Failures() {
		if f.At.After(o.at) {
			return f.At
		}
	}
	return time.Time{}
}

// Fault remembers the instant of a fault.
func (o *Observed) Fault() { o.at = time.Now() }

// Interrupted waits until a statement failed after the fault, and another was
// acknowledged after that.
func (o *Observed) Interrupted(limit time.Duration) {
	o.b.t.Helper()
	var failed time.Time
	o.b.Wait(limit, "the writer to notice the fault", func(context.Context) string {
		if failed = o.failed(); failed.IsZero() {
			return "no statement failed"
		}
		return ""
	})
	o.b.Must(o.Writer.Resumed(o.b.t.Context(), failed, max(limit, waitLeast)))
}

// Resumed waits until a write that comes from now on is acknowledged.
func (o *Observed) Resumed(limit time.Duration) {
	o.b.t.Helper()
	o.b.Must(o.Writer.Resumed(o.b.t.Context(), time.Now(), max(limit, waitLeast)))
}

// Gap is the longest time without an acknowledgement since the fault.
func (o *Observed) Gap() time.Duration {
	gap, _ := o.Writer.Gap(o.at)
	return gap
}

// GapAtMost stops nothing: it compares the gap so far, and logs it.
func (o *Observed) GapAtMost(limit time.Duration) {
	o.b.t.Helper()
	gap := o.Gap()
	o.b.t.Logf("GAP %s: %v, %d failed statements", o.b.t.Name(), gap.Round(time.Millisecond), len(o.Writer.Failures()))
	if gap > limit {
		o.b.t.Errorf("no write was acknowledged for %v, want at most %v", gap.Round(time.Millisecond), limit)
	}
}

// NothingFailed wants every statement since the start to have been acknowledged.
func (o *Observed) NothingFailed() {
	o.b.t.Helper()
	for _, f := range o.Writer.Failures() {
		o.b.t.Errorf("row %d failed %v after the fault: %v", f.Seq, f.At.Sub(o.at).Round(time.Millisecond), f.Err)
	}
}

// End stops writing and wants every acknowledged row on the node, and never two
// writable servers. With mayLose the last rows of a server that died may be missing, which
// an asynchronous standby had not received: all were acknowledged within mayLose, none
// after the fault had stopped the writing, and none was seen on every standby (Spread).
func (o *Observed) End(final *testbed.Node, mayLose time.Duration) {
	o.b.t.Helper()
	o.Writer.Stop()
	o.Watcher.Stop()
	_, stopped := o.Writer.Gap(o.at) // the longest silence, on a busy machine perhaps not the one of the fault
	if failed := o.failed(); failed.After(stopped) {
		stopped = failed
	}
	lost, err := o.Writer.Verify(o.b.t.Context(), final)
	o.b.Must(err)
	for _, l := range lost {
		before := o.at.Sub(l.Acked)
		if last := lost[len(lost)-1].Acked; mayLose == 0 || l.Seq <= o.everywhere || last.Sub(l.Acked) > mayLose || l.Acked.After(stopped) {
			o.b.t.Errorf("row %d, acknowledged %v before the fault, is missing on %s", l.Seq, before.Round(time.Millisecond), final.Name)
		}
	}
	o.b.t.Logf("%d rows acknowledged, %d lost", o.Writer.Acknowledged(), len(lost))
	if took, who := o.Watcher.Overlap(); took > 0 {
		o.b.t.Errorf("two servers were writable at once for %v:", took)
		for _, i := range who {
			o.b.t.Errorf("  %s from %v to %v after the fault, %d writes", i.Node, i.From.Sub(o.at).Round(time.Millisecond), i.To.Sub(o.at).Round(time.Millisecond), i.Writes)
		}
	}
}
