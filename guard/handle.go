package guard

import (
	"fmt"
	"syscall"
)

// handle answers one request. ping and status are for everybody; all else is for
// the current worker.
func (k *keeper) handle(c *conn, r request) {
	ok := func(err error) { k.answer(c, r.ID, err, reply{}) }
	switch r.Op {
	case "ping":
		ok(nil)
		return
	case "status":
		k.send(c, reply{ID: r.ID, Status: k.status()})
		return
	case "hello":
		err := k.hello(c, r)
		k.answer(c, r.ID, err, reply{Status: k.status()})
		return
	}
	session, err := k.admit(c, r)
	if err != nil {
		ok(err)
		return
	}
	switch r.Op {
	case "start":
		i, err := k.start(session, r)
		k.answerServer(c, r.ID, i, err)
	case "adopt":
		i, err := k.adopt(r)
		k.answerServer(c, r.ID, i, err)
	case "deadline":
		ok(k.extend(session, r))
	case "end_term":
		ok(k.endTerm(r.Term))
	case "promote":
		k.promote(session, r, ok)
	case "stop":
		ok(k.stop(r.Mode))
	case "reload":
		ok(k.reload())
	case "pause":
		ok(k.pause(r.On))
	case "kill_leftovers":
		k.killLeftovers(c, r)
	case "gate":
		ok(k.setGate(r.Gate))
	case "watchdog":
		ok(k.setWatchdog(r))
	case "shutdown":
		ok(k.shutdown(r.Force))
	default:
		ok(fmt.Errorf("%w: %q (protocol version %d)", ErrUnknownRequest, r.Op, ProtocolVersion))
	}
}

// admit returns the session a request speaks for.
func (k *keeper) admit(c *conn, r request) (uint64, error) {
	// guard: worker-only — SAFETY 2 "one session at a time".
	if c.session == 0 || c != k.worker {
		return 0, ErrNoSession
	}
	if r.Session == 0 {
		return c.session, nil
	}
	return r.Session, nil
}

func (k *keeper) answer(c *conn, id uint64, err error, r reply) {
	if err != nil {
		r = reply{Error: remote(err)}
	}
	r.ID = id
	k.send(c, r)
}

func (k *keeper) answerServer(c *conn, id uint64, i *instance, err error) {
	if err != nil {
		k.answer(c, id, err, reply{})
		return
	}
	k.answer(c, id, nil, reply{Instance: i.id, PID: i.pid})
}

// endTerm closes a term. A server that may write under it is stopped now: whoever
// ends a term has lost the lease.
func (k *keeper) endTerm(term int64) error {
	if term <= 0 {
		return fmt.Errorf("%w: end_term needs a term above 0", ErrBadRequest)
	}
	current := k.lease.live() && term >= k.lease.term
	// guard: end-term-fences — SAFETY 2 "a failed compare ends the deadline at once".
	if current && !k.paused {
		k.lease.at = min(k.lease.at, k.clock.Now())
		k.fire(k.clock.Now())
	}
	k.lease.end(term)
	k.publish()
	return nil
}

// extend moves the deadline, and the gate's with it.
func (k *keeper) extend(session uint64, r request) error {
	now := k.clock.Now()
	if err := k.lease.extend(now, session, r.Term, r.At, r.Margin); err != nil {
		return err
	}
	k.lease.renewed = min(r.Renewed, now)
	k.watchdogFollows()
	k.publish()
	return nil
}

func (k *keeper) reload() error {
	if k.inst == nil || k.inst.exit != nil {
		return ErrNoServer
	}
	return k.procs.Signal(k.inst.pid, syscall.SIGHUP)
}

// pause switches the enforcement of the deadline. It comes back only with a
// deadline to enforce: a resume must not be the moment a healthy primary is killed.
func (k *keeper) pause(on bool) error {
	if !on && k.paused && k.inst != nil && k.inst.writable {
		// guard: resume-needs-deadline — SAFETY 2: a server that may write is never left unpaused without a deadline.
		if err := k.lease.holds(k.clock.Now(), k.lease.term); err != nil {
			return fmt.Errorf("resume with a server that may write: %w", err)
		}
	}
	if k.paused != on {
		k.log.Info("pause changed", "paused", on)
	}
	k.paused = on
	k.publish()
	if on { // guard: pause-disarms-watchdog — S6: a reset of the machine touches PostgreSQL like nothing else
		k.disarmWatchdog()
		if k.watch.want.on() {
			k.tryWatchdog("") // one that a killed guard has left running stops too, whatever that guard's server has left
		}
	} else {
		k.watchdogFollows()
	}
	return nil
}

// killLeftovers answers when a scan has proved that none is left.
func (k *keeper) killLeftovers(c *conn, r request) {
	fail := func(err error) { k.answer(c, r.ID, err, reply{}) }
	if err := k.free(); err != nil {
		fail(err)
		return
	}
	dir, err := k.files.Open(r.DataDir)
	if err != nil {
		fail(fmt.Errorf("open the data directory: %w", err))
		return
	}
	now := k.clock.Now()
	k.sweep = &sweep{dir: dir, started: now, next: now, killed: map[int]bool{}}
	k.sweep.asked = func(killed int) { k.answer(c, r.ID, nil, reply{Killed: killed}) }
	k.pass(now)
}

func (k *keeper) shutdown(force bool) error {
	if k.inst != nil && !force {
		return fmt.Errorf("%w: pid %d; stop it first or use force", ErrServerRunning, k.inst.pid)
	}
	k.leave("shutdown")
	return nil
}
