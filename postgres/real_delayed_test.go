//go:build integration

package postgres

import (
	"syscall"
	"testing"
)

// A standby asks nobody for WAL while it has some that it has not replayed: one whose replay
// is delayed, or paused, and that is pointed at a new primary, streams from it when it has
// come to the end of that, by itself. Nothing is to be done about it meanwhile.
func TestADelayedStandbyAsksANewPrimaryWhenItHasReplayedWhatItHas(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t(i int)")
	b := standby(t, "b", a)
	c := standby(t, "c", a)
	c.settings.PostgreSQL.RecoveryConf = map[string]string{"recovery_min_apply_delay": "8s"}
	c.config(c.upstream(a))
	c.must(c.Reload(c.ctx()))
	wait(t, "the delay", func() (bool, string) {
		a.sql("insert into t values (1)")
		n := c.look()
		return n.ReplaysOwn && n.ReplayLSN < n.ReceiveLSN, n.ReplayLSN.String()
	})
	b.waitStreaming(a)
	a.stop(syscall.SIGKILL)
	b.promoteTo(2)
	b.must(b.Checkpoint(b.ctx()))
	_, err := b.EnsureSlots(b.ctx(), []string{"b", "c"}, SlotPolicy{})
	b.must(err)
	c.must(c.Follow(c.ctx(), *c.upstream(b)))
	if n := c.look(); !n.ReplaysOwn || n.Receiver != nil || n.Replayed() != n.Position().LSN {
		t.Errorf("while its replay is delayed: %+v", n)
	}
	c.sql("select pg_wal_replay_pause()")
	paused := c.sql("select clock_timestamp()")
	wait(t, "the end of the delay", func() (bool, string) {
		now := c.sql("select clock_timestamp() > '" + paused + "'::timestamptz + interval '8.5 s'")
		return now == "t", now
	})
	if n := c.look(); !n.ReplaysOwn || !n.ReplayPaused || n.Receiver != nil {
		t.Errorf("while its replay is paused: %+v", n)
	}
	c.sql("select pg_wal_replay_resume()")
	wait(t, "c streaming from b", func() (bool, string) {
		n := c.look()
		return n.Receiver != nil && n.Receiver.Port == b.Port() && n.Timeline == 2, n.Position().String()
	})
	wait(t, "the end of its WAL", func() (bool, string) {
		n := c.look()
		return !n.ReplaysOwn, n.ReplayLSN.String()
	})
}
