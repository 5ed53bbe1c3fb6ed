//go:build integration

package postgres

import (
	"syscall"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A standby that is started again lets clients in at its minimum recovery point, and has
// forgotten where it last received. As long as it reads its own WAL, what it shows is less
// than what it has confirmed, and its end must not be called known: an election would do
// without commits that only this copy has. It follows nobody here, as after a promise.
func TestTheEndOfAStandbysWALIsKnownWhenItHasReadIt(t *testing.T) {
	a := primary(t, "a")
	b := standby(t, "b", a)
	_, err := a.SetSync(a.ctx(), `ANY 1 ("b")`)
	a.must(err)
	a.sql("create table t(i int, s text) with (fillfactor = 30, autovacuum_enabled = off)")
	b.must(b.Checkpoint(b.ctx()))
	a.sql("insert into t select i, repeat('x', 100) from generate_series(1, 10000) i")
	b.waitStreaming(a)
	b.must(b.Checkpoint(b.ctx())) // its minimum recovery point
	a.sql("do $$ begin for i in 1..40 loop update t set s = repeat('y', 100); commit; end loop; end $$")
	a.sql("set synchronous_commit = on; insert into t values (-1, 'acknowledged')") // our own sessions wait for nobody
	acknowledged, err := cluster.ParseLSN(a.sql("select pg_current_wal_flush_lsn()::text"))
	a.must(err)
	if n := b.look(); !n.EndKnown || n.Position().LSN < acknowledged {
		t.Errorf("while it streams it is at %s, known %t; %s is acknowledged", n.Position(), n.EndKnown, acknowledged)
	}
	a.stop(syscall.SIGKILL)
	b.stop(syscall.SIGQUIT)
	b.must(b.WriteUpstream(Upstream{}))
	b.must(b.SetStandbySignal(true))
	spec, err := b.StartSpec(false, b.settings)
	b.must(err)
	b.spawn(spec)
	early := 0
	wait(t, "the end of its WAL", func() (bool, string) {
		n, err := b.Look(b.ctx(), true, b.pid())
		if err != nil || n.Mode != cluster.ModeStandby {
			return false, "no standby yet"
		}
		if !n.EndKnown {
			early++
			return false, n.Position().String()
		}
		if n.Position().LSN < acknowledged {
			t.Errorf("its end is known, and at %s; it has confirmed %s", n.Position(), acknowledged)
		}
		fast, err := b.LookFast(b.ctx())
		if err != nil || !fast.EndKnown || fast.Position().LSN < acknowledged {
			t.Errorf("a cheap look: %+v, %v", fast, err)
		}
		return true, ""
	})
	if early == 0 {
		t.Log("it had read everything before it let anybody in")
	}
	t.Logf("looked %d times while it read its own WAL", early)
}
