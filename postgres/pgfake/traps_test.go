package pgfake

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestTrap1ACancelledWaitIsASuccessWithAWarning: the row is there, on no standby.
func TestTrap1ACancelledWaitIsASuccessWithAWarning(t *testing.T) {
	both(t, Traps{NoCancelledWait: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, _ := pair(t, traps)
		one.SetSync(r.now, 1, "pg2")
		r.cut["pg1-pg2"] = true
		c := r.write(one)
		r.wait(time.Second)
		one.CancelWait(r.now, c)
		if got := r.Outcome(c); on != (got == Warned) || on != one.Shows(c) {
			t.Errorf("%s, shown %t", got, one.Shows(c))
		}
	})
}

func TestTrap2EmptiedSyncNamesReleaseWhoeverWaits(t *testing.T) {
	both(t, Traps{NoReleaseOnEmpty: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		one.SetSync(r.now, 1, "pg2")
		r.cut["pg1-pg2"] = true
		c := r.write(one)
		one.SetSync(r.now, 0)
		if got := r.Outcome(c); on != (got == Acknowledged) || two.Has(c) {
			t.Errorf("%s", got)
		}
	})
}

func TestTrap3ACommitIsShippedBeforeItIsAcknowledged(t *testing.T) {
	both(t, Traps{NoEarlyShip: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two, _ := trio(t, traps)
		one.SetSync(r.now, 2, "pg2", "pg3")
		r.cut["pg1-pg3"] = true
		c := r.write(one)
		r.wait(time.Second)
		one.PowerOff(r.now)
		if r.Outcome(c) != Lost || on != two.Has(c) {
			t.Errorf("%s, on the standby %t", r.Outcome(c), two.Has(c))
		}
	})
}

// TestTrap4AcknowledgementsOfAnyKScatter: of two commits that ANY 1 acknowledged,
// each standby has only one.
func TestTrap4AcknowledgementsOfAnyKScatter(t *testing.T) {
	both(t, Traps{NoScatter: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two, three := trio(t, traps)
		one.SetSync(r.now, 1, "pg2", "pg3")
		r.cut["pg1-pg2"] = true
		c := r.write(one)
		r.wait(10 * time.Millisecond)
		if got := r.Outcome(c); on != (got == Acknowledged) || two.Has(c) || !three.Has(c) {
			t.Errorf("%s, pg2 %t, pg3 %t", got, two.Has(c), three.Has(c))
		}
	})
}

func TestTrap5AStandbyForgetsAtItsRestartWhatItReceived(t *testing.T) {
	both(t, Traps{NoReceiveReset: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		r.write(one)
		r.wait(time.Millisecond)
		had := r.look(two).ReceiveLSN
		r.cut["pg1-pg2"] = true
		r.must(two.Signal(r.now, two.proc.pid, syscall.SIGKILL))
		r.start(two, true)
		n := r.look(two)
		if on != (n.ReceiveLSN == 0) || on != (n.Position().LSN < had && !n.EndKnown) {
			t.Errorf("received %s, position %s, had %s, its end is known: %t", n.ReceiveLSN, n.Position(), had, n.EndKnown)
		}
		r.wait(time.Second) // it reads on
		if n := r.look(two); n.Position().LSN != had || !n.EndKnown {
			t.Errorf("position %s, had %s, its end is known: %t", n.Position(), had, n.EndKnown)
		}
	})
}

func TestTrap5ReceivingBeginsAgainAtTheSegment(t *testing.T) {
	r, one, two := pair(t, Traps{})
	r.write(one)
	r.stop(two)
	r.start(two, true)
	if n := r.look(two); n.Receiver == nil || n.ReceiveLSN != r.segment(n.ReplayLSN) || n.ReceiveLSN >= n.ReplayLSN {
		t.Errorf("received %s, replayed %s", n.ReceiveLSN, n.ReplayLSN)
	}
}

// TestTrap6AStandbyPastTheForkDoesNotFollowTheNewerTimeline: longer is not newer.
func TestTrap6AStandbyPastTheForkDoesNotFollowTheNewerTimeline(t *testing.T) {
	both(t, Traps{NoShorterTimeline: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two, three := trio(t, traps)
		r.cut["pg1-pg2"] = true
		r.write(one)
		r.wait(10 * time.Millisecond)
		one.PowerOff(r.now)
		r.promote(two, 2)
		r.follow(three, two)
		r.wait(time.Second)
		n := r.look(three)
		if on != (n.Receiver == nil) || on != (n.Timeline == 1) {
			t.Errorf("receiver %v, timeline %d: %s", n.Receiver, n.Timeline, three.Complaint())
		}
		if on && !strings.Contains(three.Complaint(), "forked off") {
			t.Error(three.Complaint())
		}
	})
}

// TestTrap6OneNumberMeansTwoHistories: two promotions that did not see each other
// take the same number, and pg_rewind sees nothing to do.
func TestTrap6OneNumberMeansTwoHistories(t *testing.T) {
	both(t, Traps{NoSameNumber: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two, three := trio(t, traps)
		one.PowerOff(r.now)
		r.cut["pg2-pg3"] = true
		r.promote(two, 0)
		r.promote(three, 0)
		delete(r.cut, "pg2-pg3")
		a, b := r.look(two), r.look(three)
		if on != (a.Timeline == b.Timeline) {
			t.Fatalf("timelines %d and %d", a.Timeline, b.Timeline)
		}
		lost := r.write(two)
		kept := r.write(three)
		w, err := three.Checkpoint(r.now)
		r.must(r.finish(w, err))
		r.stop(two)
		w, err = two.Rewind(r.now, "pg3")
		if on {
			if r.must(err); !w.Done || w.Rewound || !two.Has(lost) {
				t.Errorf("rewound %t", w.Rewound)
			}
			return
		}
		r.must(r.finish(w, err))
		if !w.Rewound || two.Has(lost) || !two.Has(kept) {
			t.Errorf("rewound %t, lost %t, kept %t", w.Rewound, two.Has(lost), two.Has(kept))
		}
	})
}

// TestTrap6StreamingMixesTwoHistoriesOfOneNumber: where a record begins exactly at
// the standby's end nobody notices; elsewhere it sticks.
func TestTrap6StreamingMixesTwoHistoriesOfOneNumber(t *testing.T) {
	for name, size := range map[string]int{"silently": 200, "sticks": 208} {
		t.Run(name, func(t *testing.T) {
			r, one, two, three := trio(t, Traps{})
			one.PowerOff(r.now)
			r.cut["pg2-pg3"] = true
			r.promote(two, 0)
			r.promote(three, 0)
			mine, _ := three.Write(r.now, size, false)
			r.must(three.Signal(r.now, three.proc.pid, syscall.SIGKILL))
			r.write(two)
			theirs := r.write(two)
			delete(r.cut, "pg2-pg3")
			three.WriteUpstream(Upstream{"pg2", "5432", ""})
			r.start(three, true)
			r.wait(time.Second)
			mixed := three.Has(mine) && three.Has(theirs)
			if mixed != (name == "silently") || !three.Diverged(two) {
				t.Errorf("mixed %t: %s", mixed, three.Complaint())
			}
			if streams := r.look(three).Receiver != nil; streams != mixed && name == "silently" {
				t.Error("the mixture does not stream")
			}
		})
	}
}

func TestTrap7AWeakenedCommitWaitsForNobody(t *testing.T) {
	both(t, Traps{NoWeakCommit: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		one.SetSync(r.now, 1, "pg2")
		r.cut["pg1-pg2"] = true
		c, o := one.Write(r.now, 200, true)
		r.wait(time.Second)
		if on != (o == Acknowledged) || two.Has(c) {
			t.Errorf("%s", o)
		}
	})
}

func TestTrap8RecoveryShowsWhatWasNeverAcknowledged(t *testing.T) {
	both(t, Traps{NoUnackedVisible: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, _ := pair(t, traps)
		one.SetSync(r.now, 1, "pg2")
		r.cut["pg1-pg2"] = true
		c := r.write(one)
		if one.Shows(c) {
			t.Error("a waiting commit shows")
		}
		r.must(one.Signal(r.now, one.proc.pid, syscall.SIGKILL))
		r.start(one, false)
		if r.Outcome(c) != Lost || on != one.Shows(c) {
			t.Errorf("%s, shown %t", r.Outcome(c), one.Shows(c))
		}
	})
}

func TestTrap9AFastStopWaitsForAWalsenderThatConfirmsNothing(t *testing.T) {
	both(t, Traps{NoStopWaits: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		two.Freeze(r.now, true)
		took := r.stop(one)
		if on != (took > 4*time.Second) || took > 6*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestTrap9AStuckWalsenderThatIsEndedHoldsNoStop(t *testing.T) {
	r, one, two := pair(t, Traps{})
	two.Freeze(r.now, true)
	r.wait(100 * time.Millisecond)
	r.write(one)
	ended := one.TerminateStuck(r.now, func(string) time.Duration { return 50 * time.Millisecond })
	if took := r.stop(one); len(ended) != 1 || took > time.Second {
		t.Errorf("ended %v, the stop took %s", ended, took)
	}
}

func TestTrap9AFastStopWaitsForAnArchiverThatHangs(t *testing.T) {
	r, one, two := pair(t, Traps{})
	one.Archive(r.now, true, true)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGINT))
	r.wait(time.Minute)
	if len(one.Scan()) == 0 {
		t.Error("it stopped")
	}
	if n := one.Disk(); n.Control.State != cluster.ControlShutdown || two.proc.recv != nil || two.dir.end != one.dir.end {
		t.Errorf("%s, streams: %t, %s of %s at its standby: want it shut down, and its walsender gone with everything sent",
			n.Control.State, two.proc.recv != nil, two.dir.end, one.dir.end)
	}
	one.Archive(r.now, true, false)
	r.until("it stops", func() bool { return len(one.Scan()) == 0 })
}

// diverged is pg1 stopped with a commit that pg2, promoted to 2, does not have.
func diverged(t *testing.T, traps Traps) (r *rig, one, two *Server) {
	t.Helper()
	r, one, two = pair(t, traps)
	r.cut["pg1-pg2"] = true
	r.write(one)
	r.promote(two, 2)
	r.stop(one)
	delete(r.cut, "pg1-pg2")
	return r, one, two
}

func TestTrap10ARewindNeedsChecksumsOrHints(t *testing.T) {
	both(t, Traps{NoRewindNeeds: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := diverged(t, traps)
		w, err := two.Checkpoint(r.now)
		r.must(r.finish(w, err))
		one.SetChecksums(false)
		w, err = one.Rewind(r.now, "pg2")
		if err = r.finish(w, err); on != errors.Is(err, ErrNeedClone) {
			t.Error(err)
		}
	})
}

func TestTrap10ARewindNeedsACheckpointAtItsSource(t *testing.T) {
	both(t, Traps{NoRewindCheckpoint: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, _ := diverged(t, traps)
		w, err := one.Rewind(r.now, "pg2")
		if err = r.finish(w, err); on != errors.Is(err, ErrSourceNotReady) || one.Disk().Data != cluster.DataValid {
			t.Error(err)
		}
	})
}

func TestTrap10AnInterruptedRewindRuinsTheDirectory(t *testing.T) {
	both(t, Traps{NoRewindRuin: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := diverged(t, traps)
		w, err := two.Checkpoint(r.now)
		r.must(r.finish(w, err))
		w, err = one.Rewind(r.now, "pg2")
		r.must(err)
		r.now = w.Until.Add(-time.Millisecond)
		one.Interrupt(r.now)
		n := one.Disk()
		_, err = one.Spawn(r.now)
		r.must(err)
		r.wait(2 * time.Second)
		if on != (n.Data == cluster.DataDamaged) || on == r.mode(one).Running() {
			t.Errorf("%s, then %s: %s", n.Data, r.mode(one), one.StartFailure())
		}
	})
}

func TestARewindThatIsCancelledBeforeItChangesAnythingLeavesTheDirectoryGood(t *testing.T) {
	r, one, two := diverged(t, Traps{})
	w, err := two.Checkpoint(r.now)
	r.must(r.finish(w, err))
	w, err = one.Rewind(r.now, "pg2")
	r.must(err)
	r.wait(50 * time.Millisecond)
	one.Cancel(r.now)
	if !errors.Is(w.Err, ErrInterrupted) || errors.Is(w.Err, ErrDamaged) || one.Disk().Data != cluster.DataValid || !one.StandbySignal() {
		t.Errorf("%v, %s", w.Err, one.Disk().Data)
	}
	w, err = one.Rewind(r.now, "pg2")
	r.must(err)
	r.wait(200 * time.Millisecond)
	one.Cancel(r.now)
	if !errors.Is(w.Err, ErrDamaged) || one.Disk().Data != cluster.DataDamaged {
		t.Errorf("%v, %s", w.Err, one.Disk().Data)
	}
}

// far writes more than wal_keep_size and a checkpoint.
func far(r *rig, s *Server) {
	r.Helper()
	r.Tuning.KeepWAL = 1 << 25
	for range 10 {
		s.Write(r.now, 1<<24, false)
	}
	w, err := s.Checkpoint(r.now)
	r.must(r.finish(w, err))
}

func TestTrap11WithoutASlotTheLogIsGone(t *testing.T) {
	both(t, Traps{NoWALRemoval: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		r.stop(two)
		two.WriteUpstream(Upstream{"pg1", "5432", ""})
		_, dropped, err := one.EnsureSlots(r.now, nil, func(cluster.Slot) bool { return true })
		r.must(err)
		far(r, one)
		r.start(two, true)
		r.wait(time.Second)
		if on != (r.look(two).Receiver == nil) || len(dropped) != 1 {
			t.Errorf("dropped %v: %s", dropped, two.Complaint())
		}
	})
}

func TestASlotKeepsTheLogAndMayKeepNoMoreThanItsBound(t *testing.T) {
	for _, bound := range []cluster.LSN{0, 1 << 26} {
		r, one, two := pair(t, Traps{})
		r.Tuning.SlotKeep = bound
		r.stop(two)
		far(r, one)
		r.start(two, true)
		r.wait(time.Second)
		if lost := r.look(one).Slots[0].WalStatus == "lost"; lost != (bound != 0) || lost != (r.look(two).Receiver == nil) {
			t.Errorf("bound %d: lost %t, %s", bound, lost, two.Complaint())
		}
	}
}

func TestTrap12AReceiverIsStuckOnADeadHostUntilItsTimeout(t *testing.T) {
	both(t, Traps{NoStuckReceiver: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		one.PowerOff(r.now)
		r.wait(4 * time.Second)
		if got := r.look(two).Receiver != nil; got != on {
			t.Errorf("streaming from the dead: %t", got)
		}
		r.wait(2 * time.Second)
		if r.look(two).Receiver != nil {
			t.Error("still, after the timeout")
		}
	})
}

func TestTrap12FollowEndsAReceiverThatIsStuck(t *testing.T) {
	r, one, two, three := trio(t, Traps{})
	one.PowerOff(r.now)
	r.promote(two, 2)
	from := r.now
	r.follow(three, two)
	if took := r.now.Sub(from); took < 300*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	r.streams(three)
}

func TestTrap13TheArchiveRefusesTheSameSegmentOfAnotherHistory(t *testing.T) {
	both(t, Traps{NoArchiveClash: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		one.Archive(r.now, true, false)
		two.Archive(r.now, true, false)
		r.cut["pg1-pg2"] = true
		r.must(two.Signal(r.now, two.proc.pid, syscall.SIGKILL))
		r.start(two, false) // without a promotion: the same timeline
		one.Write(r.now, 1<<25, false)
		two.Write(r.now, 1<<25, false)
		r.wait(time.Second)
		if one.ArchiveFailed() || two.ArchiveFailed() != on {
			t.Errorf("refused: %t and %t", one.ArchiveFailed(), two.ArchiveFailed())
		}
	})
}

func TestTrap14ADelayedOrPausedReplayMakesAPromotionLong(t *testing.T) {
	both(t, Traps{NoReplayLag: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		two.PauseReplay(r.now, true)
		one.Write(r.now, 100<<20, false)
		r.wait(time.Second)
		if n := r.look(two); on != (n.ReplayLSN < n.ReceiveLSN) || on != n.ReplayPaused {
			t.Errorf("%s replayed of %s", n.ReplayLSN, n.ReceiveLSN)
		}
		one.PowerOff(r.now)
		from := r.now
		r.promote(two, 2)
		if took := r.now.Sub(from); on != (took > 1500*time.Millisecond) {
			t.Errorf("the promotion took %s", took)
		}
	})
}

func TestTrap14ReplayIsAsFarBehindAsItIsDelayed(t *testing.T) {
	r, one, two := pair(t, Traps{})
	two.ReplayDelay = time.Second
	c := r.write(one)
	r.wait(900 * time.Millisecond)
	if !two.Has(c) || two.Shows(c) {
		t.Errorf("received %t, shown %t", two.Has(c), two.Shows(c))
	}
	r.wait(200 * time.Millisecond)
	if !two.Shows(c) {
		t.Error("not replayed after its delay")
	}
}

func TestTrap16TwoInitdbsMakeTwoSystems(t *testing.T) {
	both(t, Traps{NoOwnSystem: true}, func(t *testing.T, traps Traps, on bool) {
		r := newRig(t, traps)
		r.primary("pg1")
		two := r.Server("pg2")
		w, err := two.InitDB(r.now)
		r.must(r.finish(w, err))
		two.WriteUpstream(Upstream{"pg1", "5432", ""})
		r.start(two, true)
		r.wait(time.Second)
		if on != strings.Contains(two.Complaint(), "identifier differs") {
			t.Error(two.Complaint())
		}
	})
}

func TestTrap17ABackendInTheKernelSurvivesEverySignal(t *testing.T) {
	both(t, Traps{NoKernelStuck: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, _ := pair(t, traps)
		one.Stick(r.now, true)
		r.must(one.Signal(r.now, one.proc.pid, syscall.SIGQUIT))
		r.wait(time.Second)
		one.KillAll(r.now)
		r.wait(time.Second)
		if on != (len(one.Scan()) == 1) {
			t.Errorf("processes %v", one.Scan())
		}
		one.Stick(r.now, false)
		if len(one.Scan()) != 0 {
			t.Error("it is still there when the kernel let it go")
		}
	})
}

// TestABackendThatTheKernelHoldsAcknowledgesNothingOnceItIsKilled: SIGKILL is delivered
// before it runs on, and nobody can begin a query where no postmaster is.
func TestABackendThatTheKernelHoldsAcknowledgesNothingOnceItIsKilled(t *testing.T) {
	r, one, _ := busy(t)
	one.Stick(r.now, true)
	one.Busy(r.now, true)
	r.must(one.Signal(r.now, one.proc.pid, syscall.SIGKILL))
	one.Busy(r.now, false)
	one.Busy(r.now, true)
	if len(one.Scan()) != 1 || one.Acknowledges() {
		t.Errorf("a query has begun without a postmaster: processes %v", one.Scan())
	}
	one.KillAll(r.now)
	one.Freeze(r.now, true)
	if _, o := one.Write(r.now, 200, false); len(one.Scan()) != 1 || o != Refused {
		t.Errorf("it is killed and goes on: %s, processes %v", o, one.Scan())
	}
}

func TestTrap18OnlyAnOpenConnectionIsAnsweredWhenAllAreTaken(t *testing.T) {
	both(t, Traps{NoExhaustion: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, _ := pair(t, traps)
		one.Exhaust(r.now, true)
		if _, err := one.Look(r.now); err != nil {
			t.Errorf("on the kept connection: %v", err)
		}
		if _, err := one.Checkpoint(r.now); on != errors.Is(err, ErrTooMany) {
			t.Errorf("on a new one: %v", err)
		}
	})
}

func TestTrap19ARaisedParameterPausesASmallerStandby(t *testing.T) {
	both(t, Traps{NoParameterPause: true}, func(t *testing.T, traps Traps, on bool) {
		r, one, two := pair(t, traps)
		r.stop(one)
		one.SetMaxConnections(200)
		r.start(one, false)
		r.streams(two)
		c := r.write(one)
		r.wait(time.Second)
		if n := r.look(two); on != n.ReplayPaused || on == two.Shows(c) || !two.Has(c) {
			t.Errorf("paused %t, shown %t", n.ReplayPaused, two.Shows(c))
		}
		two.PlacePromote(nil)
		r.must(two.Signal(r.now, two.proc.pid, syscall.SIGUSR1))
		r.wait(time.Second)
		if on == (r.mode(two) == cluster.ModePrimary) {
			t.Errorf("mode %s: %s", r.mode(two), two.Complaint())
		}
	})
}

func TestTrap21ACloneUnderAMembersNameConfirmsCommits(t *testing.T) {
	both(t, Traps{NoFalseStandby: true}, func(t *testing.T, traps Traps, on bool) {
		r := newRig(t, traps)
		one := r.primary("pg1")
		one.SetSync(r.now, 1, "pg2")
		c := r.write(one)
		r.wait(time.Second)
		if r.Outcome(c) != Waiting {
			t.Fatal("acknowledged by nobody")
		}
		two := r.Server("pg2")
		w, err := two.Clone(r.now, "pg1", "", "pg2")
		r.must(err)
		r.wait(10 * time.Millisecond)
		if got := r.Outcome(c); w.Done || two.Has(c) || on != (got == Acknowledged) {
			t.Errorf("%s, while the clone has it: %t", got, two.Has(c))
		}
	})
}

func TestSynchronousCommitsComeByTheirEvents(t *testing.T) {
	r, one, two, three := trio(t, Traps{})
	one.SetSync(r.now, 2, "pg2", "pg3")
	three.Lag = 20 * time.Millisecond
	c := r.write(one)
	for range 10 {
		at, any := r.NextEvent(r.now)
		if !any || r.Outcome(c) != Waiting {
			break
		}
		r.now = at
		r.Advance(at)
	}
	if r.Outcome(c) != Acknowledged || !two.Has(c) || !three.Has(c) {
		t.Errorf("%s, on pg2 %t, on pg3 %t", r.Outcome(c), two.Has(c), three.Has(c))
	}
}
