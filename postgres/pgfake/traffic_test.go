package pgfake

import (
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

const tick = 20 * time.Millisecond

// busy is a pair whose clients write 100 bytes every 20 ms.
func busy(t *testing.T) (r *rig, one, two *Server) {
	t.Helper()
	r, one, two = pair(t, Traps{})
	r.Traffic = Traffic{Size: 100, Every: tick}
	return r, one, two
}

func TestTrafficMakesTheLogLongerWithoutBeingLookedAt(t *testing.T) {
	r, one, two := busy(t)
	begin, marks := one.dir.end, len(one.dir.branch.marks)
	r.wait(10 * time.Second)
	if got := one.dir.end - begin; got != 500*100 {
		t.Errorf("%d bytes in 10 s", got)
	}
	if got := len(one.dir.branch.marks); got != marks+1 {
		t.Errorf("%d marks for one run of commits, before it %d", got, marks)
	}
	ack := one.Acked(r.now)
	if ack.LSN != one.dir.end || r.now.Sub(ack.At) >= tick || !one.Keeps(ack) {
		t.Errorf("acknowledged up to %s at %v, the log ends at %s", ack.LSN, ack.At, one.dir.end)
	}
	r.wait(time.Millisecond)
	if !two.Keeps(ack) {
		t.Error("it has not arrived")
	}
}

func TestTrafficIsTheSameHoweverOftenItIsLookedAt(t *testing.T) {
	end := func(step time.Duration) (one, two cluster.LSN) {
		r, a, b := busy(t)
		from := r.now
		for r.now.Sub(from) < time.Second {
			r.wait(step)
		}
		return a.dir.end, b.dir.end
	}
	a, b := end(time.Second)
	if c, d := end(time.Millisecond); a != c || b != d {
		t.Errorf("%s and %s, or %s and %s", a, b, c, d)
	}
}

func TestTrafficKeepsAwayFromAServerThatCannotCommit(t *testing.T) {
	r, one, _ := busy(t)
	for name, set := range map[string]func(cluster.Instant, bool){"frozen": one.Freeze, "disk stalled": one.StallDisk} {
		set(r.now, true)
		end := one.dir.end
		r.wait(time.Second)
		if one.Acknowledges() || one.dir.end != end {
			t.Errorf("%s: it acknowledges %t, %d bytes", name, one.Acknowledges(), one.dir.end-end)
		}
		set(r.now, false)
		if r.wait(time.Second); one.dir.end == end {
			t.Errorf("not %s any more, and nothing is written", name)
		}
	}
	r.stop(one)
	end := one.dir.end
	if r.wait(time.Second); one.dir.end != end || one.Acknowledges() {
		t.Error("a stopped server is written to")
	}
}

func TestTrafficGoesOnAtABackendThatOutlivesItsPostmaster(t *testing.T) {
	r, one, _ := busy(t)
	one.Busy(r.now, true)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGKILL))
	end := one.dir.end
	if r.wait(time.Second); !one.Acknowledges() || one.dir.end == end {
		t.Error("the backend is gone")
	}
	one.KillAll(r.now)
	if one.Acknowledges() {
		t.Error("a killed backend acknowledges")
	}
}

func TestTrafficEndsAPrimaryWhoseDiskIsFull(t *testing.T) {
	r, one, two := busy(t)
	one.FillDisk(r.now, true)
	if len(one.Scan()) != 0 || one.StartFailure() == "" {
		t.Errorf("processes %v", one.Scan())
	}
	two.FillDisk(r.now, true)
	two.PlacePromote(nil)
	r.must(two.Signal(r.now, two.proc.pid, syscall.SIGUSR1))
	r.until("the promotion fails", func() bool { return len(two.Scan()) == 0 })
}

func TestRecordsOfTrafficBeginWhereTheOneBeforeEnds(t *testing.T) {
	r, one, _ := busy(t)
	r.wait(time.Second)
	if end := one.dir.end; !one.dir.branch.boundary(end-300) || one.dir.branch.boundary(end-310) {
		t.Error("the boundaries of a run of records")
	}
}

func TestAStarvedStandbyGetsNothingAndBothEndsFindOut(t *testing.T) {
	r, one, two := busy(t)
	two.Starve(r.now, true)
	end := two.dir.end
	r.wait(3 * time.Second)
	if two.dir.end != end || r.look(two).Receiver == nil || len(r.look(one).Walsenders) != 1 {
		t.Errorf("it got %d bytes; receiver %v", two.dir.end-end, r.look(two).Receiver)
	}
	r.wait(3 * time.Second)
	if r.look(two).Receiver != nil || len(r.look(one).Walsenders) != 0 {
		t.Error("nobody has found out")
	}
	two.Starve(r.now, false)
	r.streams(two)
	if two.dir.end == end {
		t.Error("still nothing")
	}
}

func TestASlowDiskMakesEverythingTakeLonger(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	one.DiskDelay = 2 * time.Second
	if took := r.stop(one); took < 2*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

func TestHistoryFilesWithoutThePromoteFilePromoteNothing(t *testing.T) {
	r, _, two := pair(t, Traps{})
	files, err := two.HistoryFiles(1, 3)
	r.must(err)
	two.PlaceHistory(files)
	r.must(two.Signal(r.now, two.proc.pid, syscall.SIGUSR1))
	if r.wait(time.Second); r.mode(two) != cluster.ModeStandby {
		t.Errorf("it is %s", r.mode(two))
	}
}
