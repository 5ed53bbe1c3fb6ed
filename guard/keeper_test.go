package guard

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestADeadlineStopsAPrimaryAndProvesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		s := w.mustStart(c, true, 5)
		if !w.status(c).Armed {
			t.Error("status does not say that the deadline is armed")
		}
		fired := w.event(c, DeadlineFired)
		w.event(c, StoppedAll)
		e := w.event(c, Exited)
		if fired.Instance != s.Instance || e.Instance != s.Instance || e.PID != s.PID {
			t.Errorf("events name %s and %s pid %d, started was %+v", fired.Instance, e.Instance, e.PID, s)
		}
		if got := w.procs.signals(); !slices.Equal(got, []string{"100 quit"}) {
			t.Errorf("signals %q, want one SIGQUIT", got)
		}
		if w.status(c).Server != nil {
			t.Error("guard still holds a server")
		}
	})
}

func TestAServerThatIgnoresSIGQUITIsKilledAfterAThirdOfTheMargin(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.stubborn = true
		c := w.worker(1)
		w.arm(c, 5, time.Second) // margin 3 s
		w.mustStart(c, true, 5)
		fired := w.event(c, DeadlineFired)
		all := w.event(c, StoppedAll)
		w.event(c, Exited)
		if d := all.At - fired.At; d < time.Second || d > 1010*time.Millisecond {
			t.Errorf("all stopped %v after the deadline, want 1 s and a look or two", d)
		}
		if all.Took != all.At-fired.At || w.status(c).LastKill != all.Took {
			t.Errorf("took %v, last kill %v, want %v", all.Took, w.status(c).LastKill, all.At-fired.At)
		}
		if got := w.procs.signals(); len(got) < 3 || got[0] != "100 quit" || got[1] != "100 killed" {
			t.Errorf("signals %q, want SIGQUIT, then SIGKILL to the postmaster before its backends", got)
		}
	})
}

// The end of the guard asks for a stop of its own, with more patience.
func TestAGuardThatLeavesDoesNotPutTheKillOff(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.stubborn = true
		c := w.worker(1)
		w.arm(c, 5, time.Second) // margin 3 s
		w.mustStart(c, true, 5)
		fired := w.event(c, DeadlineFired)
		close(w.quit)
		if all := w.event(c, StoppedAll); all.At-fired.At > 1010*time.Millisecond {
			t.Errorf("all stopped %v after the deadline, want 1 s and a look or two", all.At-fired.At)
		}
	})
}

// And a deadline that fires while the guard leaves with patience brings it forward.
func TestADeadlineBringsTheKillForward(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.stubborn = true
		c := w.worker(1)
		w.arm(c, 5, 500*time.Millisecond) // margin 3 s
		w.mustStart(c, true, 5)
		close(w.quit)
		fired := w.event(c, DeadlineFired)
		if all := w.event(c, StoppedAll); all.At-fired.At > 1010*time.Millisecond {
			t.Errorf("all stopped %v after the deadline, want 1 s and a look or two", all.At-fired.At)
		}
	})
}

func TestThePostmasterOfAKillIsHitBeforeItsBackends(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		// A lower pid than the postmaster's: pids wrap around.
		w.procs.set(func(p *table) { p.live[50] = &process{dataDir} })
		noErr(t, c.Stop(t.Context(), Kill))
		e := w.event(c, Exited)
		got := w.procs.signals()
		if len(got) == 0 || got[0] != "100 killed" {
			t.Errorf("signals %q, want the postmaster first", got)
		}
		if e.Signal != 9 || e.Leftovers != 3 {
			t.Errorf("exit %+v, want signal 9 and 3 leftovers", e)
		}
	})
}

func TestADeadlineDoesNotStopAStandby(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		w.mustStart(c, false, 0)
		if w.status(c).Armed {
			t.Error("a standby is said to be armed")
		}
		w.pass(time.Hour)
		if w.status(c).Server == nil || len(w.procs.signals()) != 0 {
			t.Errorf("standby was touched: %q", w.procs.signals())
		}
	})
}

func TestAPromotedServerIsBoundToTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		w.arm(c, 5, time.Second)
		noErr(t, c.Promote(t.Context(), 5, dataDir, nil))
		w.event(c, DeadlineFired)
		w.event(c, Exited)
	})
}

func TestAPromotionThatOutlastsItsLeaseIsStoppedAndNeverSignalled(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		w.arm(c, 5, time.Second)
		w.disk.stall = 5 * time.Second
		result := make(chan error, 1)
		go func() { result <- c.Promote(t.Context(), 5, dataDir, nil) }()
		w.event(c, DeadlineFired) // armed before the files were written
		w.event(c, Exited)
		_, err := w.start(c, false, 0)
		wantErr(t, err, ErrBusy) // the promote file could still be written
		wantErr(t, <-result, ErrNoDeadline)
		if w.disk.wasPromoted() || strings.Contains(strings.Join(w.procs.signals(), " "), "user defined") {
			t.Error("the server was promoted after the deadline")
		}
		_, err = w.start(c, false, 0)
		noErr(t, err)
	})
}

// The files may be written in time, and the lease be gone before the signal.
func TestThePromoteSignalNeedsTheTermStillToHold(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		w.arm(c, 5, time.Minute)
		noErr(t, c.SetPause(t.Context(), true)) // so that ending the term does not stop the server itself
		w.disk.stall = 5 * time.Second
		result := make(chan error, 1)
		go func() { result <- c.Promote(t.Context(), 5, dataDir, nil) }()
		synctest.Wait()
		noErr(t, c.EndTerm(t.Context(), 5))
		wantErr(t, <-result, ErrTermEnded)
		if got := w.procs.signals(); len(got) != 0 {
			t.Errorf("signals %q, want none", got)
		}
	})
}

func TestAPromotionThatNeverReachedTheServerLeavesAStandby(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		noErr(t, c.SetPause(t.Context(), true))
		w.arm(c, 5, time.Second)
		w.disk.stall = 2 * time.Second
		wantErr(t, c.Promote(t.Context(), 5, dataDir, nil), ErrNoDeadline)
		if s := w.status(c).Server; s == nil || s.Writable {
			t.Error("a server that was asked nothing is gone or said to be writable")
		}
	})
}

func TestLeftoversDieWithTheirPostmaster(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		s := w.mustStart(c, false, 0)
		w.procs.crash(s.PID)
		e := w.event(c, Exited)
		if e.Signal != 9 || e.Leftovers != 2 {
			t.Errorf("exit %+v, want signal 9 and 2 leftovers", e)
		}
		if len(w.procs.live) != 0 {
			t.Errorf("%d processes left after the exit was reported", len(w.procs.live))
		}
	})
}

func TestAStuckProcessIsNeverReportedAsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		s := w.mustStart(c, false, 0)
		w.procs.set(func(p *table) { p.stuck = true })
		w.procs.crash(s.PID)
		w.pass(time.Minute)
		st := w.status(c)
		if st.Server == nil || st.Server.State != Killing || st.Server.Leftovers != 2 {
			t.Fatalf("server %+v, want killing with 2 leftovers", st.Server)
		}
		_, err := w.start(c, false, 0)
		wantErr(t, err, ErrServerRunning)
		w.procs.set(func(p *table) { p.stuck = false })
		w.event(c, Exited)
	})
}

func TestAGuardThatCannotLookReportsNothingGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		s := w.mustStart(c, false, 0)
		w.procs.set(func(p *table) { p.blind = true })
		w.procs.crash(s.PID)
		w.pass(time.Minute)
		if w.status(c).Server == nil {
			t.Fatal("server was given up without a look")
		}
		w.procs.set(func(p *table) { p.blind = false })
		w.event(c, Exited)
	})
}

func TestOneCleanLookIsNoProof(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.backends = 1
		c := w.worker(1)
		s := w.mustStart(c, false, 0)
		w.procs.set(func(p *table) { p.lateChild = true })
		w.procs.crash(s.PID)
		if e := w.event(c, Exited); e.Leftovers != 1 {
			t.Errorf("%d leftovers, want the child that the first look missed", e.Leftovers)
		}
	})
}

func TestAStartIsRefusedWhileTheDataDirectoryIsInUse(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.procs.set(func(p *table) { p.live[42] = &process{dataDir} })
		_, err := w.start(c, false, 0)
		wantErr(t, err, ErrLeftovers)
		if !strings.Contains(err.Error(), "42") {
			t.Errorf("%q does not name the pid", err)
		}
		n, err := c.KillLeftovers(t.Context(), dataDir)
		noErr(t, err)
		if n != 1 {
			t.Errorf("killed %d, want 1", n)
		}
		w.mustStart(c, false, 0)
	})
}

func TestThereIsOneServer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		s := w.mustStart(c, false, 0)
		_, err := c.Start(t.Context(), StartOptions{Argv: []string{"/postgres"}, DataDir: "/other"})
		wantErr(t, err, ErrServerRunning)
		_, err = c.Adopt(t.Context(), 4711, "/other", false)
		wantErr(t, err, ErrServerRunning)
		_, err = c.KillLeftovers(t.Context(), "/other")
		wantErr(t, err, ErrServerRunning)
		if w.status(c).Server.Instance != s.Instance {
			t.Error("another server is held")
		}
	})
}

func TestEveryStartHasAnotherInstance(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		a := w.mustStart(c, false, 0)
		noErr(t, c.Stop(t.Context(), Fast))
		w.event(c, Exited)
		if b := w.mustStart(c, false, 0); a.Instance == b.Instance || len(b.Instance) != 32 {
			t.Errorf("instances %s and %s", a.Instance, b.Instance)
		}
		if w.status(c).LastKill != 0 {
			t.Error("a clean stop was taken for a kill")
		}
	})
}

func TestAnAdoptedServerHasNoParentDeathSignalButADeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.live[4711] = &process{dataDir}
		c := w.worker(1)
		_, err := c.Adopt(t.Context(), 4712, dataDir, true)
		wantErr(t, err, ErrFailed)
		_, err = c.Adopt(t.Context(), 4711, dataDir, true)
		noErr(t, err)
		if s := w.status(c).Server; !s.Adopted || s.ParentDeathSignal {
			t.Errorf("status %+v, want adopted and no parent-death signal", s)
		}
		w.arm(c, 5, time.Second)
		w.event(c, Exited)
	})
}

func TestAServerOnceWritableStaysBoundUntilItExits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		s := w.mustStart(c, true, 5)
		_, err := c.Adopt(t.Context(), s.PID, dataDir, false)
		noErr(t, err)
		w.event(c, DeadlineFired)
	})
}

func TestAStandbySeenWritableBecomesBound(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		s := w.mustStart(c, false, 0)
		_, err := c.Adopt(t.Context(), s.PID, dataDir, true)
		noErr(t, err)
		w.event(c, DeadlineFired)
	})
}

func TestInPauseNoDeadlineIsEnforcedAndResumeNeedsOne(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		w.mustStart(c, true, 5)
		noErr(t, c.SetPause(t.Context(), true))
		w.pass(time.Hour)
		if got := w.procs.signals(); len(got) != 0 {
			t.Fatalf("a paused server got %q", got)
		}
		wantErr(t, c.SetPause(t.Context(), false), ErrNoDeadline)
		w.arm(c, 6, time.Second)
		noErr(t, c.SetPause(t.Context(), false))
		w.event(c, DeadlineFired)
	})
}

func TestAStopDoesNotDisarmTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.stubborn = true // a fast stop that hangs
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		w.mustStart(c, true, 5)
		noErr(t, c.Stop(t.Context(), Fast))
		wantErr(t, c.Promote(t.Context(), 5, dataDir, nil), ErrStopping)
		w.event(c, DeadlineFired)
		w.event(c, Exited)
	})
}

func TestAGuardWithoutWorkerKeepsAStandby(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		noErr(t, c.Close())
		w.pass(time.Hour)
		if w.status(w.worker(2)).Server == nil {
			t.Error("the standby is gone")
		}
	})
}

func TestAGuardWithoutWorkerStopsAPrimaryAtItsDeadlineAndThenEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.mustStart(c, true, 5)
		noErr(t, c.Close())
		w.pass(59 * time.Second)
		if got := w.procs.signals(); len(got) != 0 {
			t.Fatalf("primary got %q before its deadline", got)
		}
		w.pass(time.Second)
		if got := w.procs.signals(); !slices.Equal(got, []string{"100 quit"}) {
			t.Fatalf("primary got %q at its deadline", got)
		}
		w.pass(11 * time.Second)
		select {
		case <-w.ended:
		default:
			t.Error("guard stays with neither server nor worker")
		}
	})
}

func TestAnIdleGuardEndsAfterTenSecondsWithoutWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.pass(time.Hour)
		before := w.clock.Now()
		noErr(t, c.Close())
		<-w.ended
		if took := w.clock.Now() - before; took != idleExit {
			t.Errorf("ended after %v, want %v", took, idleExit)
		}
	})
}

func TestTheEndOfTheParentStopsTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.procs.stubborn = true
		c := w.worker(1)
		w.mustStart(c, false, 0)
		noErr(t, c.SetPause(t.Context(), true)) // not even pause keeps it
		before := w.clock.Now()
		close(w.quit)
		w.event(c, Exited)
		<-w.ended
		if took := w.clock.Now() - before; took < quitGrace || took > quitGrace+time.Second {
			t.Errorf("ended after %v, want %v and a little", took, quitGrace)
		}
	})
}

func TestShutdownIsRefusedWhileAServerRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		wantErr(t, c.Shutdown(t.Context(), false), ErrServerRunning)
		noErr(t, c.Shutdown(t.Context(), true))
		w.event(c, Exited)
		<-w.ended
	})
}

func TestAWorkerThatDoesNotReadDoesNotHoldUpTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		frozen, far := net.Pipe() // nobody reads this end
		defer frozen.Close()
		go w.k.serve(far, 7, w.done)
		w.primaryDisk()
		ask := func(r request) {
			if _, err := frozen.Write(encodeLine(r)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Fatal(err)
			}
		}
		ask(request{Op: "hello", V: 1, Session: 1})
		ask(request{Op: "deadline", Term: 5, At: w.in(time.Second), Margin: time.Second})
		ask(request{Op: "start", Argv: []string{"/postgres"}, DataDir: dataDir, Writable: true, Term: 5})
		for range 2 * outbox {
			ask(request{Op: "status"})
		}
		w.pass(2 * time.Second)
		if got := w.procs.signals(); !slices.Equal(got, []string{"100 quit"}) {
			t.Errorf("signals %q, want the deadline to be kept", got)
		}
		if st, err := w.dial().Status(t.Context()); err != nil || st.WorkerPID != 0 {
			t.Errorf("worker %d is still connected, error %v", st.WorkerPID, err)
		}
	})
}

func TestALineThatIsTooLongOrNoJSONIsAnsweredWithAReason(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for name, line := range map[string]string{
			"no JSON":  "hello\n",
			"no op":    "{}\n",
			"too long": strings.Repeat("x", maxLine+1),
		} {
			near, far := net.Pipe()
			go w.k.serve(far, 7, w.done)
			go func() { _, _ = io.WriteString(near, line) }()
			answer, err := bufio.NewReader(near).ReadString('\n')
			if err != nil || !strings.Contains(answer, "bad_request") {
				t.Errorf("%s: answered %q, error %v", name, answer, err)
			}
			noErr(t, near.Close())
		}
	})
}
