package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	quietExit   = 5 * time.Second // for a worker told by USR2 to leave, before SIGKILL
	hurry       = 5 * time.Second // for a worker told to stop at once
	unsaidAgain = 100 * time.Millisecond
	unsaidMost  = 16
	guardLinger = 300 * time.Millisecond // for a guard that is ending with its worker
)

// supervisor is the state of the loop; only its goroutine touches it.
type supervisor struct {
	Options
	lock    *Lock
	worker  child
	guard   child
	systemd systemd

	foreign   int           // pid of a running guard that is not our child
	asked     int           // how often we were told to stop
	killAt    time.Duration // when the worker is killed; 0 when not
	replacing bool          // the worker was told to leave for a new one
	owed      bool          // TERM is due as soon as the new worker is ready
	pingAt    time.Duration // next watchdog ping
	unsaid    []string      // what the service manager had no room for
	sayAt     time.Duration // when to say it; 0 when there is nothing

	signals chan os.Signal
	sigchld chan os.Signal // apart: a storm of orphans must not crowd out a TERM
	gone    chan int       // pid of a foreign guard that ended
	lines   chan string
	parent  <-chan struct{}
	done    chan struct{}
}

func (s *supervisor) loop(ctx context.Context) (int, error) {
	if s.systemd.every > 0 {
		s.pingAt = now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	cancelled := ctx.Done()
	for {
		s.tick(now())
		timer.Reset(s.wait(now()))
		select {
		case sig := <-s.signals:
			if finished, code, err := s.signal(sig); finished {
				return code, err
			}
		case <-s.sigchld:
			if finished, code, err := s.reaped(); finished {
				return code, err
			}
		case pid := <-s.gone:
			s.guardGone(pid)
		case line := <-s.lines:
			s.heard(line)
		case <-s.parent:
			s.Log.Info("parent is gone, agent ends", "reason", "parent_gone")
			s.kill(unix.SIGKILL)
			return 0, nil
		case <-cancelled:
			cancelled = nil
			if s.stop() {
				return s.finish(128 + int(unix.SIGTERM))
			}
		case <-timer.C:
		}
	}
}

// tick starts what is due and keeps the promises that have a time.
func (s *supervisor) tick(at time.Duration) {
	if s.worker.due(at) {
		s.try(&s.worker, s.startWorker())
	}
	if s.guard.due(at) {
		s.try(&s.guard, s.ensureGuard())
	}
	if s.killAt > 0 && at >= s.killAt {
		s.killAt = 0
		s.Log.Error("worker does not end, killed", "pid", s.worker.pid)
		s.kill(unix.SIGKILL)
	}
	if s.sayAt > 0 && at >= s.sayAt {
		s.catchUp()
	}
	if s.pingAt > 0 && at >= s.pingAt {
		s.pingAt = at + s.systemd.every
		s.say("WATCHDOG=1")
	}
}

// wait is the time to the next thing tick has to do.
func (s *supervisor) wait(at time.Duration) time.Duration {
	next := at + time.Hour
	for _, t := range []time.Duration{s.worker.retryAt, s.guard.retryAt, s.killAt, s.pingAt, s.sayAt} {
		if t > 0 {
			next = min(next, t)
		}
	}
	return max(0, next-at)
}

// try counts a child that could not be started as one that died.
func (s *supervisor) try(c *child, err error) {
	if err == nil {
		return
	}
	s.Log.Error("cannot start", "process", c.name, "error", err)
	c.since = now()
	c.died(c.since)
}

// say tells the service manager something. What it has no room for now is said
// later, in order; a ping is simply lost.
func (s *supervisor) say(state string) {
	const ping = "WATCHDOG=1"
	if len(s.unsaid) == 0 || state == ping {
		err := s.systemd.say(state)
		if err == nil {
			return
		}
		s.Log.Debug("service manager not told", "error", err)
		if !errors.Is(err, unix.EAGAIN) {
			return
		}
	}
	if state != ping && len(s.unsaid) < unsaidMost {
		s.unsaid = append(s.unsaid, state)
		s.sayAt = now() + unsaidAgain
	}
}

// catchUp says what could not be said before.
func (s *supervisor) catchUp() {
	s.sayAt = 0
	late := s.unsaid
	s.unsaid = nil
	for _, state := range late {
		s.say(state)
	}
}

func (s *supervisor) heard(line string) {
	s.say(line)
	if line == "READY=1" && s.owed {
		s.owed = false
		s.kill(unix.SIGTERM)
	}
}

// kill signals the worker. Before it is waited for nobody else has its pid.
func (s *supervisor) kill(sig syscall.Signal) {
	if s.worker.pid > 0 {
		_ = unix.Kill(s.worker.pid, sig) // one that ended is about to be reaped
	}
}

// signal acts on one signal; finished ends the loop.
func (s *supervisor) signal(sig os.Signal) (finished bool, code int, err error) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT:
		if s.stop() {
			code, err = s.finish(128 + int(unix.SIGTERM))
			return true, code, err
		}
	case unix.SIGHUP:
		s.say(reloading())
		s.kill(unix.SIGHUP)
	case unix.SIGUSR2:
		if s.asked > 0 {
			return false, 0, nil
		}
		if err := s.upgrade(); err != nil {
			s.Log.Error("upgrade failed, the old version goes on", "error", err)
		}
	}
	return false, 0, nil
}

// stop asks the worker to stop, each time more urgently. It says whether there is
// no worker to ask.
func (s *supervisor) stop() (nobody bool) {
	s.asked++
	if s.worker.pid == 0 {
		return true
	}
	s.Log.Info("agent stops", "times_asked", s.asked)
	switch s.asked {
	case 1:
		s.say("STOPPING=1")
		s.killAt = now() + s.StopTimeout
		if s.replacing {
			s.owed = true // this one leaves the server alone; its successor stops it
			return false
		}
		s.kill(unix.SIGTERM)
	case 2:
		s.killAt = min(s.killAt, now()+hurry)
		s.kill(unix.SIGINT)
	default:
		s.kill(unix.SIGKILL)
	}
	return false
}

// reaped folds in every process that ended.
func (s *supervisor) reaped() (finished bool, code int, err error) {
	for _, e := range reap() {
		switch e.pid {
		case s.guard.pid:
			s.guardEnded(e)
		case s.worker.pid:
			finished, code, err = s.workerEnded(e)
		}
	}
	return finished, code, err
}

// guardEnded starts the guard again, unless it ended in good order while we stop:
// then the worker has dismissed it, and a new one would outlive us for nothing.
func (s *supervisor) guardEnded(e end) {
	if s.asked > 0 && e.code == 0 {
		s.guard.pid = 0
		return
	}
	s.Log.Warn("guard ended", "pid", e.pid, "code", e.code)
	s.guard.died(now())
}

// workerEnded decides whether the worker is started again.
func (s *supervisor) workerEnded(e end) (finished bool, code int, err error) {
	s.Log.Info("worker ended", "pid", e.pid, "code", e.code)
	switch {
	case s.replacing:
		s.replacing, s.killAt = false, 0
		if s.asked > 0 {
			s.killAt = now() + s.StopTimeout
		}
		s.worker.pid, s.worker.retryAt = 0, now()
		return false, 0, nil
	case e.code == ExitRefused:
		return true, ExitRefused, ErrRefused
	case s.asked > 0, e.code == 0:
		s.worker.pid = 0
		code, err = s.finish(e.code)
		return true, code, err
	}
	s.worker.died(now())
	return false, 0, nil
}

// finish waits a moment for a guard that ends with its worker, so that the agent's
// end is the end of all of it. A guard that stays with a server is left behind.
func (s *supervisor) finish(code int) (int, error) {
	if code != 0 {
		return code, fmt.Errorf("%w: exit code %d; a server that runs is left to its guard", ErrNotStopped, code)
	}
	linger := time.NewTimer(guardLinger)
	defer linger.Stop()
	for s.guard.pid > 0 {
		select {
		case <-s.sigchld:
			for _, e := range reap() {
				if e.pid == s.guard.pid {
					s.guard.pid = 0
				}
			}
		case <-linger.C:
			return 0, nil
		}
	}
	return 0, nil
}

// startWorker gives the worker a process group of its own, so that a terminal's
// Ctrl-C reaches it only through us, and a pipe to tell when it is ready.
func (s *supervisor) startWorker() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	defer w.Close()
	sys := &syscall.SysProcAttr{Setpgid: true}
	if err := s.worker.spawn(childEnv(notifyEnv+"=3"), sys, w.Fd()); err != nil {
		_ = r.Close()
		return err
	}
	s.Log.Info("worker started", "pid", s.worker.pid)
	go listen(r, s.lines, s.done)
	return nil
}

// ensureGuard starts a guard unless one is ours or holds the lock.
func (s *supervisor) ensureGuard() error {
	if s.guard.pid > 0 {
		return nil // perhaps too young to hold the lock
	}
	pid, err := holder(filepath.Join(s.RuntimeDir, guardLock))
	if err != nil {
		return fmt.Errorf("look for a running guard: %w", err)
	}
	if pid > 0 {
		s.adoptGuard(pid)
		return nil
	}
	var files []uintptr
	if s.ParentPipe > 2 {
		files = append(files, uintptr(s.ParentPipe))
	}
	s.foreign = 0
	// A session of its own and no parent-death signal: it outlives us.
	if err := s.guard.spawn(guardEnv(), &syscall.SysProcAttr{Setsid: true}, files...); err != nil {
		return err
	}
	s.Log.Info("guard started", "pid", s.guard.pid)
	return nil
}

// adoptGuard watches a guard that somebody else started.
func (s *supervisor) adoptGuard(pid int) {
	s.guard.retryAt = 0
	if pid == s.foreign {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // it ended meanwhile
		s.guard.retryAt = now()
		return
	}
	s.Log.Info("guard found", "pid", pid)
	s.foreign = pid
	go func() {
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		select {
		case s.gone <- pid:
		case <-s.done:
		}
	}()
}

func (s *supervisor) guardGone(pid int) {
	if pid != s.foreign {
		return
	}
	s.Log.Warn("guard ended", "pid", pid)
	s.foreign = 0
	s.guard.since = now()
	s.guard.died(s.guard.since)
}
