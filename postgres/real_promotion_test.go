//go:build integration

package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// diesAt compiles what has a server die at a point of its promotion.
func diesAt(t *testing.T, point string) []string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	library := filepath.Join(space(t), "die.so")
	if out, err := exec.CommandContext(t.Context(), cc, "-shared", "-fPIC", "-o", library, "testdata/die.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return []string{"LD_PRELOAD=" + library, "DIE_AT=" + point}
}

// diedInPromotion makes a standby of a dead primary that has died at a point of its promotion
// onto timeline 3, where a WAL file begins, or with more in the middle of one.
func diedInPromotion(t *testing.T, point string, more bool) *node {
	t.Helper()
	b := promotedUntil(t, more, func(*node) {}, diesAt(t, point)...)
	<-b.exited
	b.stop(syscall.SIGKILL)
	return b
}

// promotedUntil has a standby of a dead primary promoted onto timeline 3, with more in its
// environment. It is prepared while it streams.
func promotedUntil(t *testing.T, more bool, prepare func(b *node), env ...string) *node {
	t.Helper()
	a := primary(t, "a")
	a.sql("create table t as select 1 i")
	b := standby(t, "b", a)
	if more {
		a.sql("insert into t values (2)")
		b.waitStreaming(a)
	}
	prepare(b)
	a.stop(syscall.SIGKILL)
	b.stop(syscall.SIGINT)
	b.must(b.SetStandbySignal(true))
	spec, err := b.StartSpec(false, b.settings)
	b.must(err)
	spec.Env = append(spec.Env, env...)
	b.spawn(spec)
	b.waitMode(cluster.ModeStandby)
	files, err := b.HistoryFiles(1, 3)
	b.must(err)
	b.must(b.owner.do(func() error {
		for name, content := range files {
			if err := writeFile(b.data("pg_wal", name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		return os.WriteFile(b.data("promote"), nil, 0o600)
	}))
	b.must(syscall.Kill(b.pid(), syscall.SIGUSR1))
	return b
}

// A process that crashes between the removal of standby.signal and pg_control ends the
// server, which would recover by itself as a primary of the timeline it was to leave.
func TestACrashInAPromotionEndsTheServer(t *testing.T) {
	env := append(diesAt(t, "signal"), "DIE_WHO=background writer")
	t.Run("as it is configured", func(t *testing.T) {
		b := promotedUntil(t, true, func(*node) {}, env...)
		<-b.exited
		b.stop(syscall.SIGKILL)
		if n := b.look(); n.Control.StandbySignal || n.Control.State != cluster.ControlInArchiveRecovery {
			t.Fatalf("signal %t, %s", n.Control.StandbySignal, n.Control.State)
		}
		b.start(false)
		b.promoteTo(3)
		if got := b.sql("show restart_after_crash"); got != "off" {
			t.Errorf("after the promotion restart_after_crash is %s", got)
		}
		b.must(b.RecoversByItself(b.ctx()))
		wait(t, "restart_after_crash to be on", func() (bool, string) { is := b.sql("show restart_after_crash"); return is == "on", is })
	})
	t.Run("without that", func(t *testing.T) {
		b := promotedUntil(t, true, func(b *node) { b.must(b.RecoversByItself(b.ctx())) }, env...)
		b.waitMode(cluster.ModePrimary)
		if n := b.look(); n.Timeline != 1 {
			t.Errorf("on timeline %d: PostgreSQL has changed, and this is not needed any more", n.Timeline)
		}
	})
}

// A promotion removes standby.signal, durably, before the end-of-recovery record and
// pg_control. A server that dies between the two says so in pg_control alone; started as it
// is, it goes on as a primary of the timeline it was to leave.
func TestAServerThatDiedInItsPromotionIsKnownByItsControlFile(t *testing.T) {
	for _, c := range []struct {
		name, point string
		more        bool
	}{{"signal", "signal", true}, {"history", "history", true}, {"history where a file begins", "history", false}} {
		t.Run(c.name, func(t *testing.T) {
			b := diedInPromotion(t, c.point, c.more)
			n := b.look()
			if n.Control.StandbySignal || n.Control.State != cluster.ControlInArchiveRecovery || n.Timeline != 1 {
				t.Fatalf("signal %t, %s, timeline %d", n.Control.StandbySignal, n.Control.State, n.Timeline)
			}
			names, _ := filepath.Glob(b.data("pg_wal", "*"))
			for i := range names {
				names[i] = filepath.Base(names[i])
			}
			t.Logf("it leaves %s", strings.Join(names, " "))
			b.start(false)
			if n := b.look(); n.Timeline != 1 {
				t.Errorf("as a standby it is on timeline %d", n.Timeline)
			}
			// With what the promotion left it would follow nobody else, and not be promoted onto its number.
			left, _ := filepath.Glob(b.data("pg_wal", "00000003*"))
			if c.point == "history" && len(left) != 0 {
				t.Errorf("started as a standby it has %v", left)
			}
			b.promoteTo(3)
			if got := b.sql("select count(*) from t"); c.more != (got == "2") {
				t.Errorf("%s rows", got)
			}
		})
	}
	t.Run("started as it is", func(t *testing.T) {
		b := diedInPromotion(t, "signal", true)
		b.start(true)
		if n := b.look(); n.Timeline != 1 {
			t.Errorf("on timeline %d: PostgreSQL has changed, and died_in_promotion is not needed any more", n.Timeline)
		}
	})
}
