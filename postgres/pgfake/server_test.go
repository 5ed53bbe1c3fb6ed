package pgfake

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAPrimaryAcknowledgesAndItsStandbyReceives(t *testing.T) {
	r, one, two := pair(t, Traps{})
	c, o := one.Write(r.now, 200, false)
	if o != Acknowledged || !one.Has(c) || two.Has(c) {
		t.Fatalf("%s, on the primary %t, on the standby at once %t", o, one.Has(c), two.Has(c))
	}
	r.wait(time.Millisecond)
	n := r.look(two)
	if !two.Has(c) || n.ReceiveLSN != r.look(one).WriteLSN || n.ReplayLSN != n.ReceiveLSN {
		t.Errorf("the standby has it: %t; %+v", two.Has(c), n)
	}
	if _, o := two.Write(r.now, 200, false); o != Refused {
		t.Errorf("a standby took a write: %s", o)
	}
	if w := r.look(one).Walsenders; len(w) != 1 || w[0].Name != "pg2" || w[0].State != "streaming" || w[0].Flush != n.ReceiveLSN {
		t.Errorf("walsenders %+v", w)
	}
	if s := r.look(one).Slots; len(s) != 1 || !s[0].Active || s[0].Name != "pg2" {
		t.Errorf("slots %+v", s)
	}
}

func TestACleanStopLeavesItsEndInPgControlAndItsStandbyHasIt(t *testing.T) {
	r, one, two := pair(t, Traps{})
	r.write(one)
	r.stop(one)
	n := one.Disk()
	if n.Control.State != cluster.ControlShutdown || n.Control.CheckpointEnd != one.dir.end || n.Control.Checkpoint >= n.Control.CheckpointEnd {
		t.Errorf("pg_control %+v, the log ends at %s", n.Control, one.dir.end)
	}
	if got := r.look(two).ReceiveLSN; got != n.Control.CheckpointEnd {
		t.Errorf("the standby is at %s, the shutdown record ends at %s", got, n.Control.CheckpointEnd)
	}
	if got := one.Reap(); !slices.Equal(got, []int{1000}) || one.Reap() != nil {
		t.Errorf("reaped %v: a postmaster is, once", got)
	}
}

func TestAKilledPrimaryRecoversAndKeepsWhatItAcknowledged(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	c := r.write(one)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGKILL))
	if n := one.Disk(); n.Control.State != cluster.ControlInProduction || n.Control.CheckpointEnd != 0 {
		t.Errorf("pg_control after a kill: %+v", n.Control)
	}
	r.start(one, false)
	if !one.Shows(c) || r.look(one).Timeline != 1 {
		t.Error("an acknowledged commit is gone after recovery")
	}
}

func TestAPromotionSkipsPlacedHistoryFilesAndStandbysFollowIt(t *testing.T) {
	r, one, two, three := trio(t, Traps{})
	r.write(one)
	r.wait(time.Millisecond)
	one.PowerOff(r.now)
	r.promote(two, 5)
	n := r.look(two)
	if n.Timeline != 5 || len(n.TimelineHistory) != 1 || n.TimelineHistory[0].Timeline != 1 {
		t.Fatalf("promoted to %d with history %+v", n.Timeline, n.TimelineHistory)
	}
	if n.Control.Timeline != 1 || n.Control.MinRecoveryTLI != 5 {
		t.Errorf("pg_control shows the new timeline before a checkpoint: %+v", n.Control)
	}
	_, _, err := two.EnsureSlots(r.now, []string{"pg3"}, nil)
	r.must(err)
	until, err := three.Follow(r.now, Upstream{"pg2", "5432", "pg3"})
	r.must(err)
	r.wait(until.Sub(r.now))
	r.streams(three)
	c := r.write(two)
	r.wait(time.Millisecond)
	if seen := r.look(three); !three.Has(c) || seen.Timeline != 5 {
		t.Errorf("the standby is at %+v: %s", seen.Position(), three.Complaint())
	}
	w, err := two.Checkpoint(r.now)
	r.must(r.finish(w, err))
	if c := two.Disk().Control; c.Timeline != 5 || c.MinRecovery != 0 {
		t.Errorf("pg_control after the checkpoint: %+v", c)
	}
}

func TestACascadeGetsItsLogThroughAStandby(t *testing.T) {
	r, one, two := pair(t, Traps{})
	three := r.standby("pg3", two)
	c := r.write(one)
	r.wait(2 * time.Millisecond)
	if !three.Has(c) {
		t.Error("the commit did not get through")
	}
	one.PowerOff(r.now)
	r.promote(two, 0)
	c = r.write(two)
	r.wait(2 * time.Millisecond)
	if !three.Has(c) || r.look(three).Timeline != 2 {
		t.Errorf("the cascade did not follow its promoted upstream: %s", three.Complaint())
	}
}

func TestAStandbyOfAnotherSlotNameOrSystemDoesNotStream(t *testing.T) {
	r, one, two := pair(t, Traps{})
	_, err := two.Follow(r.now, Upstream{"pg1", "5432", "missing"})
	r.must(err)
	r.wait(time.Second)
	if two.Complaint() != `replication slot "missing" does not exist` {
		t.Error(two.Complaint())
	}
	if one.slotActive("pg2") {
		t.Error("the old slot is still in use")
	}
}

func TestARewindBringsADivergedPrimaryBack(t *testing.T) {
	r, one, two := pair(t, Traps{})
	r.cut["pg1-pg2"] = true
	lost := r.write(one)
	r.promote(two, 2)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGQUIT))
	r.until("pg1 is down", func() bool { return len(one.Scan()) == 0 })
	delete(r.cut, "pg1-pg2")
	kept := r.write(two)
	w, err := two.Checkpoint(r.now)
	r.must(r.finish(w, err))
	w, err = one.Rewind(r.now, "pg2")
	r.must(r.finish(w, err))
	if !w.Rewound || one.Has(lost) || !one.Has(kept) || !one.StandbySignal() {
		t.Fatalf("rewound %t, has its lost commit %t, has the new one %t", w.Rewound, one.Has(lost), one.Has(kept))
	}
	one.WriteUpstream(Upstream{"pg2", "5432", ""})
	r.start(one, true)
	r.streams(one)
}

func TestWithoutRewindADivergedPrimaryCannotFollow(t *testing.T) {
	r, one, two := pair(t, Traps{})
	r.cut["pg1-pg2"] = true
	r.write(one)
	r.promote(two, 2)
	r.stop(one)
	delete(r.cut, "pg1-pg2")
	one.WriteUpstream(Upstream{"pg2", "5432", ""})
	r.start(one, true)
	r.wait(time.Second)
	if n := r.look(one); n.Receiver != nil || one.Complaint() == "" || !one.Diverged(two) {
		t.Errorf("it streams: %+v", n.Receiver)
	}
}

func TestACloneTakesTimeAndItsInterruptionLeavesATombstone(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	three := r.Server("pg3")
	w, err := three.Clone(r.now, "pg1", "pg3", "pgkeeper_clone_pg3")
	r.must(err)
	r.wait(100 * time.Millisecond)
	if n := three.Disk(); n.Data != cluster.DataTombstone || w.Done {
		t.Errorf("in the middle: %v, done %t", n.Data, w.Done)
	}
	if _, found := walsender(r.look(one), "pgkeeper_clone_pg3"); !found {
		t.Error("the clone does not show at its source")
	}
	three.PowerOff(r.now)
	three.PowerOn(r.now)
	if n := three.Disk(); n.Data != cluster.DataTombstone {
		t.Errorf("after a power cut: %v", n.Data)
	}
	w, err = three.Clone(r.now, "pg1", "", "pgkeeper_clone_pg3")
	r.must(err)
	three.Cancel(r.now)
	if n := three.Disk(); n.Data != cluster.DataEmpty || !errors.Is(w.Err, ErrInterrupted) {
		t.Errorf("cancelled: %v, %v", n.Data, w.Err)
	}
	w, err = three.Clone(r.now, "pg1", "", "pgkeeper_clone_pg3")
	r.must(err)
	one.PowerOff(r.now)
	r.until("the clone notices", func() bool { return w.Done })
	if !errors.Is(w.Err, ErrUnreachable) || three.Disk().Data != cluster.DataEmpty {
		t.Errorf("its source is gone: %v", w.Err)
	}
}

func walsender(n cluster.NodeState, name string) (cluster.Walsender, bool) {
	for _, w := range n.Walsenders {
		if w.Name == name {
			return w, true
		}
	}
	return cluster.Walsender{}, false
}

func TestAGoodDirectoryIsNeverOverwrittenAndLivesOnAside(t *testing.T) {
	r, _, two := pair(t, Traps{})
	if _, err := two.InitDB(r.now); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("initdb over data: %v", err)
	}
	if err := two.MoveAside(1); !errors.Is(err, ErrRunning) {
		t.Errorf("moved under a server: %v", err)
	}
	r.stop(two)
	r.must(two.MoveAside(1))
	if two.Disk().Data != cluster.DataEmpty || two.Asides() != 1 {
		t.Errorf("%v, %d aside", two.Disk().Data, two.Asides())
	}
}

func TestAnOrphanedPlaceholderKeepsAServerFromStarting(t *testing.T) {
	r, _, two := pair(t, Traps{})
	files, err := two.HistoryFiles(1, 4)
	r.must(err)
	two.PlacePromote(files)
	r.must(two.Signal(r.now, two.proc.pid, syscall.SIGKILL))
	_, err = two.Spawn(r.now)
	r.must(err)
	r.until("it ends", func() bool { return len(two.Scan()) == 0 })
	if two.StartFailure() != "FATAL: requested timeline 3 is not a child of this server's history" {
		t.Error(two.StartFailure())
	}
	r.start(two, true) // drops them
}

// A standby killed before its next restart point starts with whatever history file it
// has, and replays on past where that timeline left its own. The one it is promoted onto
// then names an ancestor that it has nothing of.
func TestAStandbyThatHasNothingOfATimelineDoesNotNameItAsItsAncestor(t *testing.T) {
	r, one, two, three := trio(t, Traps{})
	r.stop(three)
	r.write(one)
	r.until("pg2 has it", func() bool { return two.Log().End == one.Log().End })
	one.KillAll(r.now)
	r.start(three, true)
	r.promote(three, 2)
	r.follow(two, three)
	r.until("pg2 has the history of timeline 2", func() bool { return two.dir.files.newest(1) == 2 })
	two.KillAll(r.now)
	three.KillAll(r.now)
	two.dir.control.Checkpoint, two.dir.control.MinRecovery = firstLSN, 0
	r.start(two, true)
	r.promote(two, 3)
	if at, found := two.dir.branch.history.SwitchOf(2); found || len(two.dir.branch.history) != 1 {
		t.Errorf("timeline 2 is said to have ended at %s: %+v", at, two.dir.branch.history)
	}
}

func TestATimelineThatIsTakenIsRefused(t *testing.T) {
	r, _, two := pair(t, Traps{})
	r.promote(two, 3)
	if _, err := two.HistoryFiles(2, 3); !errors.Is(err, ErrTimelineTaken) {
		t.Errorf("a number that has a file: %v", err)
	}
	if _, err := two.HistoryFiles(3, 3); !errors.Is(err, ErrTimelineTaken) {
		t.Errorf("the current number: %v", err)
	}
}

func TestAStalledDiskHoldsCommitsStartsAndStops(t *testing.T) {
	r, one, two := pair(t, Traps{})
	one.StallDisk(r.now, true)
	c, o := one.Write(r.now, 200, false)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGINT))
	r.wait(3 * time.Second)
	if o != Waiting || one.Has(c) || two.Has(c) || len(one.Scan()) == 0 {
		t.Errorf("%s, durable %t, exited %t", o, one.Has(c), len(one.Scan()) == 0)
	}
	one.StallDisk(r.now, false)
	r.until("it stops", func() bool { return len(one.Scan()) == 0 })
}

func TestAStalledDiskForgetsOnAPowerCutWhatItNeverAcknowledged(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	one.StallDisk(r.now, true)
	c := r.write(one)
	one.PowerOff(r.now)
	if r.Outcome(c) != Lost || one.Has(c) {
		t.Errorf("%s, durable %t", r.Outcome(c), one.Has(c))
	}
}

func TestAFullDiskEndsAPrimaryAndKeepsItFromStarting(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	one.FillDisk(r.now, true)
	if _, o := one.Write(r.now, 200, false); o != Refused || len(one.Scan()) != 0 {
		t.Errorf("%s, processes %v", o, one.Scan())
	}
	_, err := one.Spawn(r.now)
	r.must(err)
	r.until("it ends", func() bool { return len(one.Scan()) == 0 })
	if one.StartFailure() == "" {
		t.Error("it said nothing")
	}
	one.FillDisk(r.now, false)
	r.start(one, false)
}

func TestAFrozenServerAnswersNothingAndDoesWhatWasAskedWhenItThaws(t *testing.T) {
	r, one, two := pair(t, Traps{})
	one.Freeze(r.now, true)
	if _, err := one.Look(r.now); !errors.Is(err, ErrHung) {
		t.Errorf("a look: %v", err)
	}
	c, o := one.Write(r.now, 200, false)
	r.wait(time.Second)
	if o != Waiting || r.Outcome(c) != Waiting {
		t.Errorf("frozen: %s", o)
	}
	one.Freeze(r.now, false)
	r.wait(time.Millisecond)
	if r.Outcome(c) != Acknowledged || !two.Has(c) {
		t.Errorf("thawed: %s", r.Outcome(c))
	}
	one.Freeze(r.now, true)
	pid := one.proc.pid
	r.must(one.Signal(r.now, pid, syscall.SIGINT))
	r.wait(time.Second)
	if len(one.Scan()) == 0 {
		t.Error("a frozen server acted on SIGINT")
	}
	one.KillAll(r.now)
	if len(one.Scan()) != 0 {
		t.Error("SIGKILL reaches frozen processes")
	}
}

func TestABackendThatIsBusyOutlivesItsPostmasterAndStillAcknowledges(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	one.Busy(r.now, true)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGKILL))
	if len(one.Scan()) != 1 {
		t.Fatalf("processes %v", one.Scan())
	}
	if _, o := one.Write(r.now, 200, false); o != Acknowledged {
		t.Errorf("its commit: %s", o)
	}
	one.KillAll(r.now)
	if _, o := one.Write(r.now, 200, false); o != Refused || len(one.Scan()) != 0 {
		t.Errorf("after the kill: %s, %v", o, one.Scan())
	}
}

func TestABackendCrashIsRecoveredByTheSamePostmaster(t *testing.T) {
	r, one, two := pair(t, Traps{})
	pid := one.proc.pid
	c := r.write(one)
	one.CrashBackend(r.now)
	if m := r.mode(one); m != cluster.ModeStarting {
		t.Errorf("mode %s", m)
	}
	r.until("it is back", func() bool { return r.mode(one) == cluster.ModePrimary })
	r.streams(two)
	if one.proc.pid != pid || !one.Shows(c) {
		t.Error("another postmaster, or a lost commit")
	}
}

// A promotion removes standby.signal before pg_control says that recovery is over. What dies
// between the two, and is started as it is, is a primary of the timeline it was to leave.
func TestAServerThatDiesInTheMiddleOfItsPromotion(t *testing.T) {
	begin := func(t *testing.T) (*rig, *Server) {
		r, one, two := pair(t, Traps{})
		r.write(one)
		r.wait(time.Second)
		one.KillAll(r.now)
		files, err := two.HistoryFiles(1, 3)
		r.must(err)
		two.Lingers = time.Second
		two.PlacePromote(files)
		r.must(two.Signal(r.now, two.proc.pid, syscall.SIGUSR1))
		r.until("standby.signal is gone", func() bool { return !two.StandbySignal() })
		if n := r.look(two); n.Mode != cluster.ModeStandby || n.Control.State != cluster.ControlInArchiveRecovery || n.Timeline != 1 {
			t.Fatalf("in the middle of its promotion: %+v", n)
		}
		return r, two
	}
	t.Run("killed", func(t *testing.T) {
		r, two := begin(t)
		two.KillAll(r.now)
		if n := two.Disk(); n.Control.StandbySignal || n.Control.State != cluster.ControlInArchiveRecovery || n.Timeline != 1 {
			t.Errorf("it leaves %+v", n)
		}
		r.start(two, false)
		if n := r.look(two); n.Mode != cluster.ModePrimary || n.Timeline != 1 {
			t.Errorf("started as it is: %s on %d, want a primary of timeline 1", n.Mode, n.Timeline)
		}
	})
	t.Run("killed and started as a standby", func(t *testing.T) {
		r, two := begin(t)
		two.KillAll(r.now)
		r.start(two, true)
		if r.promote(two, 3); r.look(two).Timeline != 3 {
			t.Errorf("promoted onto %d, want 3", r.look(two).Timeline)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		r, two := begin(t)
		r.stop(two)
		if n := two.Disk(); n.Control.StandbySignal || n.Control.State != cluster.ControlShutdownInRecovery {
			t.Errorf("it leaves %+v", n.Control)
		}
	})
	t.Run("a backend crashes", func(t *testing.T) {
		r, two := begin(t)
		two.CrashBackend(r.now)
		if n := two.Disk(); two.Mode() != cluster.ModeStopped || n.Control.State != cluster.ControlInArchiveRecovery || n.Timeline != 1 {
			t.Errorf("%s, and it leaves %+v", two.Mode(), n)
		}
	})
	t.Run("a backend crashes, and the server recovers by itself", func(t *testing.T) {
		r, two := begin(t)
		r.must(two.RecoversByItself(r.now))
		two.CrashBackend(r.now)
		r.until("it is back", func() bool { return r.mode(two) == cluster.ModePrimary })
		if n := r.look(two); n.Timeline != 1 {
			t.Errorf("it has recovered by itself on timeline %d, want 1", n.Timeline)
		}
	})
}

// A standby whose backend crashes reads its own WAL once more from its restart point: what it
// shows meanwhile is less than what it has.
func TestAStandbyThatRecoversFromACrashHasToReadItsOwnWAL(t *testing.T) {
	r, one, two := pair(t, Traps{})
	work, err := two.Checkpoint(r.now)
	r.must(r.finish(work, err))
	for range 5 {
		r.write(one)
	}
	r.wait(time.Second)
	if n := r.look(two); !n.EndKnown {
		t.Fatal("the end of its WAL is not known while it streams")
	}
	one.KillAll(r.now)
	r.must(two.RecoversByItself(r.now)) // as in a pause
	two.CrashBackend(r.now)
	r.until("it is back", func() bool { return r.mode(two) == cluster.ModeStandby })
	if n := r.look(two); n.EndKnown || n.ReplayLSN >= two.dir.end {
		t.Errorf("right after its recovery: replayed %s of %s, known %t", n.ReplayLSN, two.dir.end, n.EndKnown)
	}
	r.until("it has read everything", func() bool { return r.look(two).EndKnown })
	if n := r.look(two); n.ReplayLSN != two.dir.end {
		t.Errorf("replayed %s of %s", n.ReplayLSN, two.dir.end)
	}
}

func TestAPowerCutTellsNobodyAndThePeersFindOutByTimeout(t *testing.T) {
	r, one, two := pair(t, Traps{})
	two.PowerOff(r.now)
	r.wait(4 * time.Second)
	if len(r.look(one).Walsenders) != 1 {
		t.Error("the walsender is gone before its timeout")
	}
	r.wait(2 * time.Second)
	if len(r.look(one).Walsenders) != 0 {
		t.Error("the walsender stays after its timeout")
	}
}

func TestTheSameCallsGiveTheSameAnswers(t *testing.T) {
	tell := func() string {
		r, one, two, three := trio(t, Traps{})
		for range 20 {
			r.write(one)
			r.wait(7 * time.Millisecond)
		}
		r.must(one.Signal(r.now, one.proc.pid, syscall.SIGKILL))
		r.promote(two, 3)
		r.follow(three, two)
		r.wait(time.Second)
		said, err := json.Marshal([]any{r.events, one.Disk(), r.look(two), r.look(three)})
		r.must(err)
		return string(said)
	}
	if a, b := tell(), tell(); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestNextEventNamesWhatComesByItself(t *testing.T) {
	r, one, _ := pair(t, Traps{})
	r.wait(time.Minute)
	if at, any := r.NextEvent(r.now); any {
		t.Errorf("a quiet world has an event at %v", at)
	}
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGINT))
	for range 100 {
		at, any := r.NextEvent(r.now)
		if !any {
			break
		}
		if at < r.now {
			t.Fatalf("an event in the past: %v, it is %v", at, r.now)
		}
		r.now = at
		r.Advance(at)
	}
	if len(one.Scan()) != 0 {
		t.Error("the stop did not come to its end by its events alone")
	}
}

func BenchmarkAQuietMinuteWithWritesOfFiveMembers(b *testing.B) {
	for b.Loop() {
		site := NewSite(Traps{})
		now := cluster.Instant(time.Hour)
		one := site.Server("pg1")
		_, _ = one.InitDB(now)
		now = now.Add(time.Second)
		site.Advance(now)
		_, _ = one.Spawn(now)
		now = now.Add(time.Second)
		site.Advance(now)
		for i := range 4 {
			s := site.Server(fmt.Sprint("pg", i+2))
			_, _ = s.Clone(now, "pg1", "", "clone")
			now = now.Add(3 * time.Second)
			site.Advance(now)
			s.WriteUpstream(Upstream{"pg1", "5432", ""})
			_, _ = s.Spawn(now)
		}
		for range 3000 {
			now = now.Add(20 * time.Millisecond)
			site.Advance(now)
			one.Write(now, 200, false)
		}
	}
}

// TestACheckpointThatAStopOvertakesWritesNothing: neither on a standby, where it is a
// restart point, nor after the shutdown record of a primary.
func TestACheckpointThatAStopOvertakesWritesNothing(t *testing.T) {
	for _, standby := range []bool{true, false} {
		r, one, two := pair(t, Traps{})
		s := one
		if standby {
			s = two
		}
		r.Costs.Stop, r.Costs.Checkpoint = Cost{Base: time.Second}, Cost{Base: 500 * time.Millisecond}
		if !standby {
			r.Costs.Stop, r.Costs.Checkpoint = Cost{Base: time.Millisecond}, Cost{Base: time.Second}
			r.cut["pg1-pg2"] = true // its walsender keeps it from exiting
		}
		_, err := s.Checkpoint(r.now)
		r.must(err)
		r.must(s.Signal(r.now, s.proc.pid, syscall.SIGINT))
		r.wait(100 * time.Millisecond)
		end := s.dir.end
		r.wait(2 * time.Second)
		if s.dir.end != end || standby && two.Diverged(one) {
			t.Errorf("standby %t: it wrote from %s to %s while it stopped", standby, end, s.dir.end)
		}
	}
}

func TestTwoHistoriesAreOneUpToWhereTheyPart(t *testing.T) {
	first := &branch{timeline: 1}
	lost := &branch{timeline: 2, parent: first, from: 100}
	next := &branch{timeline: 3, parent: first, from: 80}
	s := &Server{}
	for name, c := range map[string]struct {
		own         *branch
		end, shares cluster.LSN
		place       *branch
	}{
		"the same timeline":              {first, 90, 90, first},
		"it went on":                     {lost, 150, 100, first},
		"behind where that one began":    {first, 90, 90, lost},
		"beyond where that one began":    {first, 120, 100, lost},
		"a timeline that has left both":  {next, 150, 80, lost},
		"nothing is known of that place": {next, 150, 150, nil},
		"a server without data":          {nil, 0, 0, lost},
	} {
		s.dir.branch, s.dir.end = c.own, c.end
		if shares := s.Shares(Place{c.place}); shares != c.shares {
			t.Errorf("%s: %d, want %d", name, shares, c.shares)
		}
	}
	s.dir.branch = next
	if s.Place(1) != (Place{first}) || s.Place(2) != (Place{}) {
		t.Error("a place is not that of its number in this history")
	}
}

func TestAConnectionThatIsUpCarriesOneWay(t *testing.T) {
	r, one, two := pair(t, Traps{})
	deaf := map[*Server]bool{}
	r.Carry = func(_, to *Server) bool { return !deaf[to] }
	r.Reach = func(_, _ *Server) bool { return len(deaf) == 0 }
	deaf[one] = true
	before := two.dir.end
	r.wait(time.Second)
	one.Write(r.now, 200, false)
	r.wait(time.Second)
	if two.dir.end == before {
		t.Error("the standby is not fed although only its answers are lost")
	}
	one.SetSync(r.now, 1, two.Name())
	c, _ := one.Write(r.now, 200, false)
	r.wait(time.Second)
	if o := r.Outcome(c); o != Waiting {
		t.Errorf("a commit is %s although no answer arrives", o)
	}
	delete(deaf, one)
	deaf[two] = true
	r.wait(time.Second)
	if o := r.Outcome(c); o != Acknowledged {
		t.Errorf("a commit is %s although the answers arrive again", o)
	}
	before = two.dir.end
	one.Write(r.now, 200, false)
	r.wait(time.Second)
	if two.dir.end != before {
		t.Error("the standby is fed although nothing gets to it")
	}
}
