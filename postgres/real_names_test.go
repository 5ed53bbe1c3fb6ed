//go:build integration

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// absent is a standby that nobody is: a commit that waits for it never ends.
const absent = `FIRST 1 ("nobody_here")`

// tabled is a running primary with a table to write to.
func tabled(t *testing.T) *node {
	t.Helper()
	n := primary(t, "a")
	n.sql("create table public.waits (n int)")
	return n
}

// setWithin sets the names, in as long as that may take.
func (n *node) setWithin(d time.Duration, names string) error {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.ctx(), d)
	defer cancel()
	_, err := n.SetSync(ctx, names)
	return err
}

func (n *node) set(names string) {
	n.t.Helper()
	n.must(n.setWithin(patience, names))
}

// waits reports whether a commit waits for a standby; else it was acknowledged.
func (n *node) waits() bool {
	n.t.Helper()
	conn, err := n.SuperuserConn(n.ctx())
	n.must(err)
	defer closeConn(n.ctx(), conn)
	_, err = conn.Exec(n.ctx(), "set statement_timeout = 0; set synchronous_commit = on").ReadAll()
	n.must(err)
	ctx, cancel := context.WithCancel(n.ctx())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "insert into public.waits values (1)").ReadAll()
		done <- err
	}()
	waits := false
	wait(n.t, "the end of a commit, or its wait", func() (bool, string) {
		event := n.sql(fmt.Sprintf("select coalesce(wait_event, '') from pg_stat_get_activity(%d)", conn.PID()))
		waits = event == "SyncRep"
		return waits || len(done) > 0, event
	})
	if waits {
		cancel() // the connection goes with it, and the server ends the wait
	}
	if err := <-done; err != nil && !waits {
		n.t.Fatal(err)
	}
	return waits
}

// freezeCheckpointer has the checkpointer do nothing, as in a checkpoint on a slow disk.
func (n *node) freezeCheckpointer() (thaw func()) {
	n.t.Helper()
	pid, err := strconv.Atoi(n.sql("select pid::text from pg_stat_get_activity(null) where backend_type = 'checkpointer'"))
	n.must(err)
	n.must(syscall.Kill(pid, syscall.SIGSTOP))
	thaw = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	n.t.Cleanup(thaw)
	return thaw
}

// Whatever names a server shows, its commits wait for nobody until its checkpointer has
// read them.
func TestNamesAreInForceOnceTheCheckpointerHasReadThem(t *testing.T) {
	n := tabled(t)
	thaw := n.freezeCheckpointer()
	err := n.setWithin(time.Second, absent)
	if shown := n.sql("show synchronous_standby_names"); shown != absent {
		t.Errorf("a new connection sees %q", shown)
	}
	if !errors.Is(err, errFlag) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; commits wait: %t", err, n.waits())
	}
	if n.waits() {
		t.Error("a commit waits although the checkpointer has not read the names: this test shows nothing")
	}
	thaw()
	n.set(absent)
	if !n.waits() {
		t.Error("a commit waits for nobody")
	}
}

// One who waits for somebody already goes on to the next without the checkpointer: a
// failover must not wait for a checkpoint.
func TestOtherNamesNeedNoCheckpointer(t *testing.T) {
	const other = `FIRST 1 ("nobody_else")`
	n := tabled(t)
	n.set(absent)
	n.freezeCheckpointer()
	n.set(other)
	if !n.waits() {
		t.Error("a commit waits for nobody after a change")
	}

	n.stop(syscall.SIGQUIT) // the file names somebody: so does the next server, from its start
	n.start(true)
	thaw := n.freezeCheckpointer()
	n.set(absent)
	if !n.waits() {
		t.Error("a commit of a server that was started with names waits for nobody")
	}

	thaw()
	n.set("")
	if n.waits() {
		t.Error("a commit waits for somebody")
	}
	n.freezeCheckpointer()
	if err := n.setWithin(time.Second, absent); !errors.Is(err, errFlag) {
		t.Errorf("after the names were emptied: %v", err)
	}
}

// A standby's restart points hold its checkpointer up as well.
func TestAStandbyIsToldOnceItsCheckpointerHasReadTheNames(t *testing.T) {
	a := tabled(t)
	b := standby(t, "b", a)
	thaw := b.freezeCheckpointer()
	for range 2 { // the second time it shows them already
		if err := b.setWithin(time.Second, absent); !errors.Is(err, errFlag) {
			t.Errorf("got %v", err)
		}
	}
	thaw()
	b.set(absent)
	b.freezeCheckpointer()
	b.set(absent)
	b.promote(nil)
	if !b.waits() {
		t.Error("a commit waits for nobody after the promotion")
	}
}

// Who empties the names by ALTER SYSTEM turns the flag off: the next names are proved anew.
func TestNamesThatWereEmptiedByHandAreProvedAnew(t *testing.T) {
	n := tabled(t)
	n.set(absent)
	n.sql("alter system set synchronous_standby_names = ''")
	n.must(n.Reload(n.ctx()))
	wait(t, "commits to wait for nobody", func() (bool, string) { return !n.waits(), "" })
	n.freezeCheckpointer()
	if err := n.setWithin(time.Second, absent); !errors.Is(err, errFlag) {
		t.Errorf("got %v", err)
	}
}

// strict is the configuration of a strict cluster.
func (n *node) strict() {
	n.settings.SynchronousMode, n.settings.SynchronousStrict = cluster.SyncQuorum, true
}

// An election of a strict cluster waits for no checkpointer: commits of a standby would
// wait from its start on, or from a moment after the mode was switched on.
func TestAStandbyOfAStrictClusterIsPromotedWithoutItsCheckpointer(t *testing.T) {
	for _, switched := range []bool{false, true} {
		a := tabled(t)
		b := newNode(t, "b")
		b.settings = a.settings
		b.must(b.Clone(b.ctx(), b.source(a), nil))
		if !switched {
			b.strict()
		}
		b.config(b.upstream(a))
		b.start(false)
		b.waitStreaming(a)
		if switched {
			b.strict()
			if change := b.config(b.upstream(a)); !change.Reload {
				t.Error("the server is not told of its names")
			}
			b.must(b.Reload(b.ctx()))
			wait(t, "the flag to be known", func() (bool, string) {
				look := b.look()
				return b.flag.isOn(look.PostmasterTime), look.PostmasterTime
			})
		}
		if shown := b.sql("show synchronous_standby_names"); shown != standbyNames {
			t.Errorf("switched on later %t: the standby has %q", switched, shown)
		}
		b.freezeCheckpointer()
		b.set(absent)
		b.promote(nil)
		if !b.waits() {
			t.Errorf("switched on later %t: a commit waits for nobody", switched)
		}
	}
}

// Checkpoints of all kinds, one after the other, never let the proof through too early.
func TestNamesAreInForceWhateverTheCheckpointerDoes(t *testing.T) {
	n := tabled(t)
	ctx, stop := context.WithCancel(n.ctx())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- n.checkpoints(ctx) }()
	const rounds = 25
	var longest time.Duration
	for range rounds {
		n.set("")
		began := time.Now()
		n.set(absent)
		longest = max(longest, time.Since(began))
		if !n.waits() {
			t.Fatal("said to be in force, and a commit waits for nobody")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	t.Logf("measured: at most %s until the names are in force", longest.Round(time.Millisecond))
}

// checkpoints writes, by turns, a checkpoint at once and one that is spread, until ctx ends.
func (n *node) checkpoints(ctx context.Context) error {
	for round := 0; ctx.Err() == nil; round++ {
		conn, err := n.SuperuserConn(n.t.Context())
		if err != nil {
			return err
		}
		for _, sql := range []string{"set statement_timeout = 0", "insert into public.waits select generate_series(1, 2000)",
			[]string{"checkpoint", "select pg_backup_start('test', false)"}[round%2]} {
			if _, err := conn.Exec(n.t.Context(), sql).ReadAll(); err != nil {
				return err
			}
		}
		closeConn(n.t.Context(), conn)
	}
	return nil
}

// What the proof costs while nobody writes a checkpoint.
func TestNamesAreInForceInMilliseconds(t *testing.T) {
	n := tabled(t)
	const rounds = 20
	var first, next time.Duration
	for range rounds {
		n.set("")
		began := time.Now()
		n.set(absent)
		first += time.Since(began)
		began = time.Now()
		n.set(absent)
		next += time.Since(began)
	}
	t.Logf("measured: from nobody to somebody %s, from somebody to somebody %s", (first / rounds).Round(time.Microsecond), (next / rounds).Round(time.Microsecond))
}
