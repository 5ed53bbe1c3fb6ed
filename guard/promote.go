package guard

import (
	"fmt"
	"syscall"
)

// promotion is the outcome of the part of a promotion that touches the disk. It
// runs beside the loop: a stalled disk must not hold up the deadline.
type promotion struct {
	inst    *instance
	armed   bool // the server could write before this promotion
	touched bool
	term    int64
	err     error
	answer  func(error)
}

// promote checks the rules, arms the deadline and starts writing files.
func (k *keeper) promote(session uint64, r request, answer func(error)) {
	i := k.inst
	if err := k.mayPromote(session, r); err != nil {
		answer(err)
		return
	}
	// guard: watchdog-before-promote — S1, watchdog: it is armed before a server may write.
	if err := k.armWatchdog(); err != nil {
		answer(err)
		return
	}
	p := promotion{inst: i, armed: i.writable, term: r.Term, answer: answer}
	// guard: armed-before-promote — SAFETY 2 "the deadline is armed before the promote signal".
	i.writable = true
	k.keepGate(k.clock.Now()) // it gets ready beside the promotion
	k.job = true
	until, clock, files, jobs := k.lease.at, k.clock, k.files, k.jobs
	k.beside(func() {
		inTime := func() bool {
			// guard: promote-file-needs-deadline — SAFETY 2: the postmaster may act on the file alone, at any SIGUSR1 of its children.
			return clock.Now() < until
		}
		p.touched, p.err = files.Promote(i.dir, r.History, inTime)
		jobs <- p
	})
}

func (k *keeper) mayPromote(session uint64, r request) error {
	switch i := k.inst; {
	case i == nil || i.exit != nil:
		return ErrNoServer
	case i.state != Running:
		return fmt.Errorf("%w: server is %s", ErrStopping, i.state)
	case k.job:
		return fmt.Errorf("%w: a promotion is being prepared", ErrBusy)
	case r.DataDir != i.dir.path:
		return fmt.Errorf("%w: promote names %q, the server runs in %q", ErrBadRequest, r.DataDir, i.dir.path)
	}
	// guard: promote-needs-deadline — SAFETY 2 "both are refused unless now < deadline".
	return k.lease.mayWrite(k.clock.Now(), session, r.Term)
}

// promoted sends the signal, if the lease still allows it.
func (k *keeper) promoted(p promotion) {
	k.job = false
	p.answer(k.finish(p))
}

func (k *keeper) finish(p promotion) error {
	if p.err != nil {
		if !p.touched {
			p.inst.writable = p.armed // nothing was asked of the server yet
			k.spareWatchdog()
		}
		return fmt.Errorf("prepare the promotion: %w", p.err)
	}
	if k.inst != p.inst || p.inst.state != Running {
		return fmt.Errorf("%w: it ended during the promotion", ErrNoServer)
	}
	// guard: promote-signal-needs-deadline — SAFETY 2: writing the files may have taken longer than the lease.
	if err := k.lease.holds(k.clock.Now(), p.term); err != nil {
		return err
	}
	k.log.Info("server promoted", "pid", p.inst.pid, "term", p.term)
	return k.procs.Signal(p.inst.pid, syscall.SIGUSR1)
}
