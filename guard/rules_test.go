package guard

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPromotionNeedsADeadlineInTheFuture(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		wantErr(t, c.Promote(t.Context(), 1, dataDir, nil), ErrStaleTerm) // none was ever set
		noErr(t, c.Deadline(t.Context(), 5, w.in(time.Second), time.Second))
		noErr(t, c.SetPause(t.Context(), true)) // so that the deadline passes without ending its term
		w.pass(time.Second)
		wantErr(t, c.Promote(t.Context(), 5, dataDir, nil), ErrNoDeadline)
		if w.disk.wasPromoted() {
			t.Error("promote file was written")
		}
	})
}

func TestAPromotionNeedsTheTermOfTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		w.arm(c, 5, time.Minute)
		wantErr(t, c.Promote(t.Context(), 4, dataDir, nil), ErrStaleTerm)
		wantErr(t, c.Promote(t.Context(), 6, dataDir, nil), ErrStaleTerm)
		noErr(t, c.Promote(t.Context(), 5, dataDir, map[string]string{"00000002.history": "x"}))
		if !w.disk.wasPromoted() || w.disk.history["00000002.history"] != "x" {
			t.Error("promotion did not reach the data directory")
		}
		if got := w.procs.signals(); len(got) != 1 || got[0] != "100 user defined signal 1" {
			t.Errorf("signals %q, want SIGUSR1 to the postmaster alone", got)
		}
	})
}

func TestAStartThatMayWriteNeedsADeadlineOfItsTerm(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.primaryDisk()
		_, err := w.start(c, true, 5)
		wantErr(t, err, ErrStaleTerm)
		w.arm(c, 5, time.Minute)
		_, err = w.start(c, true, 4)
		wantErr(t, err, ErrStaleTerm)
		w.pass(time.Minute)
		_, err = w.start(c, true, 5)
		wantErr(t, err, ErrTermEnded)
		w.arm(c, 6, time.Minute)
		_, err = w.start(c, true, 6)
		noErr(t, err)
	})
}

func TestAStandbyStartNeedsStandbySignal(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.primaryDisk()
		_, err := w.start(c, false, 0)
		wantErr(t, err, ErrStandbySignal)
	})
}

func TestAStartThatMayWriteRefusesStandbySignal(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		_, err := w.start(c, true, 5)
		wantErr(t, err, ErrStandbySignal)
	})
}

func TestAHigherSessionSupersedesAndALowerOneIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old := w.worker(5)
		observer := w.dial()
		_, err := observer.Hello(t.Context(), 5, "test")
		wantErr(t, err, ErrStaleSession)
		_, err = w.dial().Hello(t.Context(), 4, "test")
		wantErr(t, err, ErrStaleSession)
		noErr(t, old.Err())

		w.worker(6)
		for range old.Events() {
		}
		wantErr(t, old.Err(), ErrSuperseded)
		wantErr(t, old.Ping(t.Context()), ErrSuperseded)
		_, err = w.dial().Hello(t.Context(), 5, "test")
		wantErr(t, err, ErrStaleSession)
	})
}

func TestWhoHasNotSaidHelloMayOnlyLook(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.dial()
		noErr(t, c.Ping(t.Context()))
		w.status(c)
		wantErr(t, c.Deadline(t.Context(), 1, w.in(time.Second), time.Second), ErrNoSession)
		wantErr(t, c.Stop(t.Context(), Kill), ErrNoSession)
		wantErr(t, c.Shutdown(t.Context(), true), ErrNoSession)
	})
}

// A worker that was frozen sends what it had ready before: by the number in the
// message, whatever connection it comes over.
func TestRequestsOfAThawedWorkerAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.worker(1)
		c := w.worker(2)
		w.arm(c, 5, time.Minute)
		thawed := request{Op: "deadline", Session: 1, Term: 5, At: w.in(5 * time.Minute), Margin: time.Second}
		_, err := c.call(t.Context(), thawed)
		wantErr(t, err, ErrSuperseded)

		w.mustStart(c, false, 0)
		_, err = c.call(t.Context(), request{Op: "promote", Session: 1, Term: 5, DataDir: dataDir})
		wantErr(t, err, ErrSuperseded)
		if w.disk.wasPromoted() {
			t.Error("promoted for a worker that was replaced")
		}
	})
}

func TestADeadlineOfAnOlderTermIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		wantErr(t, c.Deadline(t.Context(), 4, w.in(time.Minute), time.Second), ErrStaleTerm)
		w.arm(c, 6, time.Minute)
		wantErr(t, c.Deadline(t.Context(), 5, w.in(time.Minute), time.Second), ErrStaleTerm)
	})
}

func TestAnEndedTermIsNeverExtended(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		noErr(t, c.EndTerm(t.Context(), 5))
		wantErr(t, c.Deadline(t.Context(), 5, w.in(time.Minute), time.Second), ErrTermEnded)
		wantErr(t, c.Deadline(t.Context(), 4, w.in(time.Minute), time.Second), ErrTermEnded)
		w.mustStart(c, false, 0)
		wantErr(t, c.Promote(t.Context(), 5, dataDir, nil), ErrTermEnded)
		w.arm(c, 6, time.Minute)
	})
}

func TestATermEndedWhilePausedPromotesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.mustStart(c, false, 0)
		w.arm(c, 5, time.Minute)
		noErr(t, c.SetPause(t.Context(), true))
		noErr(t, c.EndTerm(t.Context(), 5))
		wantErr(t, c.Promote(t.Context(), 5, dataDir, nil), ErrTermEnded)
	})
}

func TestEndingATermStopsTheServerThatMayWriteAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.mustStart(c, true, 5)
		before := w.clock.Now()
		noErr(t, c.EndTerm(t.Context(), 5))
		w.event(c, Exited)
		if took := w.clock.Now() - before; took > 100*time.Millisecond {
			t.Errorf("server ended %v after its term", took)
		}
	})
}

func TestEndingATermThatPassedStopsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.mustStart(c, true, 5)
		noErr(t, c.EndTerm(t.Context(), 4))
		w.pass(time.Second)
		if got := w.procs.signals(); len(got) != 0 {
			t.Errorf("the server of term 5 got %q when term 4 was ended", got)
		}
	})
}

func TestADeadlineIsBoundedToTenMinutes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		wantErr(t, c.Deadline(t.Context(), 5, w.in(601*time.Second), time.Second), ErrDeadlineTooFar)
		noErr(t, c.Deadline(t.Context(), 5, w.in(600*time.Second), time.Second))
	})
}

func TestADeadlineMayBeShortened(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.mustStart(c, true, 5)
		w.arm(c, 5, time.Second)
		before := w.clock.Now()
		e := w.event(c, DeadlineFired)
		if late := e.At - before; late != time.Second || e.Term != 5 {
			t.Errorf("fired after %v for term %d, want 1s and 5", late, e.Term)
		}
	})
}

func TestAFiredDeadlineEndsItsTerm(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Second)
		w.mustStart(c, true, 5)
		w.event(c, Exited)
		wantErr(t, c.Deadline(t.Context(), 5, w.in(time.Minute), time.Second), ErrTermEnded)
		if got := w.status(c).EndedTerm; got != 5 {
			t.Errorf("ended term %d, want 5", got)
		}
	})
}

// After a suspend the renewal that was in flight may be read before the timer.
func TestALateRenewalDoesNotReviveAPassedDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, 10*time.Second)
		w.mustStart(c, true, 5)
		synctest.Wait()
		w.clock.sleep(time.Minute)
		wantErr(t, c.Deadline(t.Context(), 5, w.in(10*time.Second), time.Second), ErrTermEnded)
		w.event(c, DeadlineFired)
		w.event(c, Exited)
	})
}

func TestNonsenseIsRefusedWithAReason(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		for name, r := range map[string]request{
			"deadline without term":   {Op: "deadline", At: w.in(time.Second), Margin: time.Second},
			"deadline without margin": {Op: "deadline", Term: 1, At: w.in(time.Second)},
			"start without argv":      {Op: "start", DataDir: dataDir},
			"adopt of init":           {Op: "adopt", PID: 1, DataDir: dataDir},
			"end of no term":          {Op: "end_term"},
			"stop in no mode":         {Op: "stop", Mode: "gently"},
		} {
			_, err := c.call(t.Context(), r)
			if !errors.Is(err, ErrBadRequest) {
				t.Errorf("%s: got %v, want %v", name, err, ErrBadRequest)
			}
		}
		_, err := c.call(t.Context(), request{Op: "confirm_commits"})
		wantErr(t, err, ErrUnknownRequest)
	})
}
