//go:build integration

package postgres

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A standby whose first snapshot has overflowed lets nobody in until the WAL shows the end of
// the transaction that it was for; when the primary has died, that never comes. What
// docs/safety.md tells an operator to do then works all the same: to promote it by hand.
func TestAStandbyThatLetsNobodyInCanBePromotedByHand(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t(i int)")
	conn, err := a.SuperuserConn(a.ctx())
	a.must(err)
	defer closeConn(a.ctx(), conn)
	var many strings.Builder
	many.WriteString("begin;")
	for i := range 100 {
		fmt.Fprintf(&many, "savepoint s%d; insert into public.t values (%d);", i, i)
	}
	_, err = conn.Exec(a.ctx(), many.String()).ReadAll()
	a.must(err)
	b := newNode(t, "b")
	b.settings = a.settings
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	b.config(b.upstream(a))
	b.must(b.SetStandbySignal(true))
	spec, err := b.StartSpec(false, b.settings)
	b.must(err)
	b.spawn(spec)
	end := a.sql("select pg_current_wal_flush_lsn()")
	wait(t, "b having replayed all of it", func() (bool, string) {
		got := a.sql("select count(*) from pg_stat_replication where state = 'streaming' and replay_lsn >= '" + end + "'")
		return got == "1", got
	})
	if n := b.look(); n.Mode != cluster.ModeStarting {
		t.Fatalf("it is a %s, want one that lets nobody in", n.Mode)
	}
	a.stop(syscall.SIGKILL)
	b.tool("pg_ctl", "promote", "-D", b.o.DataDir)
	if n := b.look(); n.Mode != cluster.ModePrimary || n.Timeline != 2 {
		t.Errorf("it is a %s on timeline %d", n.Mode, n.Timeline)
	}
}
