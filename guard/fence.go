package guard

import (
	"syscall"
	"time"
)

const (
	firstLook  = time.Millisecond      // between two looks while processes die
	slowLook   = 20 * time.Millisecond // after a while: something is stuck in the kernel
	quickLooks = 100
)

// sweep kills every process that uses a data directory, until a scan proves that
// none is left. It never blocks the loop: each pass is one look.
type sweep struct {
	dir     directory
	started time.Duration
	next    time.Duration
	passes  int
	left    int          // processes seen by the last pass
	killed  map[int]bool // processes besides the postmaster
	forced  bool         // a stop by force, whose duration is worth keeping
	asked   func(killed int)
}

// fire ends the term of a deadline that has passed, and fences its server.
func (k *keeper) fire(now time.Duration) {
	// guard: fired-term-ends — SAFETY 2: a term whose deadline has passed is never extended again.
	k.lease.end(k.lease.term)
	k.publish()
	// guard: disarmed-by-exit-only — SAFETY 2 "disarmed only when that server has exited", whatever was asked of it before.
	if k.inst == nil || !k.inst.writable {
		return
	}
	k.log.Error("deadline passed, stopping the server", "reason", "deadline_fired",
		"term", k.lease.term, "late", now-k.lease.at, "pid", k.inst.pid)
	k.push(Event{Kind: DeadlineFired, Instance: k.inst.id, PID: k.inst.pid, At: now, Term: k.lease.term})
	k.fence(now, k.lease.margin/3)
}

// fence sends SIGQUIT, and SIGKILL after grace.
func (k *keeper) fence(now, grace time.Duration) {
	i := k.inst
	if i.state == Killing {
		return
	}
	if i.fencedAt == 0 {
		i.fencedAt = now
	}
	i.state = Stopping
	k.signal(i, syscall.SIGQUIT)
	// guard: escalate-in-time — SAFETY 2 "SIGQUIT, at margin/3 SIGKILL": the earliest asked for counts.
	if at := now + grace; i.killAt == 0 || at < i.killAt {
		i.killAt = at
	}
}

// killAll goes from asking to killing.
func (k *keeper) killAll(now time.Duration) {
	i := k.inst
	if i.fencedAt == 0 {
		i.fencedAt = now
	}
	k.log.Warn("server is killed", "pid", i.pid, "after", now-i.fencedAt)
	k.startSweep(now)
}

func (k *keeper) startSweep(now time.Duration) {
	k.inst.state = Killing
	k.inst.killAt = 0
	if k.sweep == nil {
		k.sweep = &sweep{dir: k.inst.dir, started: now, next: now, killed: map[int]bool{}}
	}
	if k.inst.fencedAt > 0 {
		k.sweep.started, k.sweep.forced = k.inst.fencedAt, true
	}
}

// pass kills what is there and looks whether anything is left.
func (k *keeper) pass(now time.Duration) {
	s := k.sweep
	s.passes++
	alive := k.inst != nil && k.inst.exit == nil
	if alive {
		// guard: postmaster-first — SAFETY 2 "SIGKILL to the postmaster first": it could start backends behind our back.
		k.signal(k.inst, syscall.SIGKILL)
	}
	left := k.killPass(s)
	// guard: proof-by-scan — SAFETY 2 "the proof is that no non-zombie process has the data directory as its working directory".
	// The second look sees a child whose parent forked and ended during the first.
	if left == 0 && !alive && k.killPass(s) == 0 {
		k.proved()
		return
	}
	s.next = now + firstLook
	if s.passes > quickLooks {
		s.next = now + slowLook
	}
	if s.passes == quickLooks {
		k.log.Error("processes of the server survive SIGKILL", "reason", "leftovers_stuck",
			"data_dir", s.dir.path, "leftovers", left)
	}
}

// killPass sends SIGKILL to every process that uses the directory and says how
// many there were; a failed look counts as one.
func (k *keeper) killPass(s *sweep) int {
	pids, err := k.procs.Scan(s.dir)
	if err != nil {
		if s.passes%quickLooks == 1 {
			k.log.Error("cannot look for processes of the server", "error", err)
		}
		s.left = max(s.left, 1)
		return s.left
	}
	for _, pid := range pids {
		if k.inst == nil || pid != k.inst.pid {
			s.killed[pid] = true
		}
	}
	if len(pids) > 0 {
		k.procs.Kill(s.dir, pids)
	}
	s.left = len(pids)
	return s.left
}

// proved runs when nothing of the server is left.
func (k *keeper) proved() {
	s, i := k.sweep, k.inst
	k.sweep = nil
	if took := k.clock.Now() - s.started; s.forced || len(s.killed) > 0 {
		k.lastKill = took
		if k.killTook != nil {
			k.killTook(took)
		}
		k.push(Event{Kind: StoppedAll, Instance: i.name(), At: k.clock.Now(), Took: took, Leftovers: len(s.killed)})
	}
	if s.asked != nil {
		s.asked(len(s.killed))
		s.dir.close()
	}
	if i == nil {
		return
	}
	e := *i.exit
	e.Leftovers = len(s.killed)
	k.inst, k.lastExit = nil, &e
	i.dir.close()
	k.disarmWatchdog() // guard: watchdog-disarmed-by-proof — S1, watchdog: only when nothing is left that could write
	k.log.Info("server ended", "pid", e.PID, "status", e.Status, "signal", e.Signal, "leftovers", e.Leftovers)
	k.push(e)
}
