package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrRunning refuses a second agent for the same member.
	ErrRunning = errors.New("an agent for this member is running")
	// ErrRefused ends the supervisor: the worker said that a restart is of no use.
	ErrRefused = errors.New("worker refuses to run with this configuration")
	// ErrNotStopped says that the worker was killed, or was gone, while it should
	// have stopped the server.
	ErrNotStopped = errors.New("worker did not stop in an orderly way")
)

// ExitRefused is the exit code by which a worker says "do not start me again, the
// configuration is refused".
const ExitRefused = 3

// Options is what a supervisor is started with.
type Options struct {
	RuntimeDir  string        // holds the locks; made with mode 0700
	Worker      []string      // program (absolute path) and arguments of the worker
	Guard       []string      // program (absolute path) and arguments of the guard
	StopTimeout time.Duration // from the first TERM to SIGKILL for the worker; 0: one minute
	// ParentPipe, if above 2, is the inherited read end of a pipe: its end of file
	// kills the worker and ends the supervisor. The guard gets it as descriptor 3.
	ParentPipe int
	Executable string   // what USR2 executes; empty: the program this process was started as
	Args       []string // its argv; empty: that of this process
	Log        *slog.Logger
}

func (o *Options) fill() {
	if o.StopTimeout == 0 {
		o.StopTimeout = time.Minute
	}
	if len(o.Args) == 0 {
		o.Args = os.Args
	}
	if o.Executable == "" {
		o.Executable = program()
	}
}

// program is a path that an upgrade replaces: not resolved, so that a symbolic
// link may be turned to another version.
func program() string {
	if filepath.Base(os.Args[0]) != os.Args[0] {
		if path, err := filepath.Abs(os.Args[0]); err == nil {
			return path
		}
	}
	path, _ := os.Executable() // empty on failure: then an upgrade says so
	return path
}

// Run keeps worker and guard alive until the worker is done, and returns the exit
// code for this process. It changes the whole process (signals, memory limit) and
// waits for every child, so nothing else may run in it. Cancelling ctx is a TERM.
func Run(ctx context.Context, o Options) (exitCode int, err error) {
	o.fill()
	if err := os.MkdirAll(o.RuntimeDir, 0o700); err != nil {
		return 1, fmt.Errorf("make the runtime directory: %w", err)
	}
	s := &supervisor{
		Options: o,
		worker:  child{name: "worker", argv: o.Worker},
		guard:   child{name: "guard", argv: o.Guard},
		systemd: fromSystemd(),
		signals: make(chan os.Signal, 8),
		sigchld: make(chan os.Signal, 1),
		gone:    make(chan int, 1),
		lines:   make(chan string),
		done:    make(chan struct{}),
	}
	defer close(s.done)
	if err := s.begin(); err != nil {
		return 1, err
	}
	defer s.lock.Close()
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(16 << 20)
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	return s.loop(ctx)
}

// begin takes the lock, or inherits it from the image before an upgrade, and
// starts what does not run.
func (s *supervisor) begin() error {
	s.hold()
	old, upgraded := inherited()
	if upgraded {
		s.lock = old.lock
	} else {
		lock, err := lockAgent(s.RuntimeDir)
		if err != nil {
			return err
		}
		s.lock = lock
	}
	if s.ParentPipe > 2 {
		unix.CloseOnExec(s.ParentPipe)
		s.parent = endOfFile(s.ParentPipe)
	}
	s.guard.pid = old.guard
	if err := s.ensureGuard(); err != nil {
		return err
	}
	if upgraded && old.worker > 0 {
		s.replace(old.worker)
		return nil
	}
	return s.startWorker()
}

// hold is called before the first child exists, so that no end is missed. Children that
// an image before this one had, a shell or the agent before an upgrade, may have ended
// while nobody listened: the loop reaps once.
func (s *supervisor) hold() {
	signal.Notify(s.sigchld, unix.SIGCHLD)
	select {
	case s.sigchld <- unix.SIGCHLD:
	default: // one has ended just now
	}
	signal.Notify(s.signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2)
	// A log that nobody reads must not end the agent: caught, and never read.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
}

// endOfFile closes its result when the pipe's writer is gone.
func endOfFile(fd int) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pipe := os.NewFile(uintptr(fd), "parent")
		var b [16]byte
		for {
			if _, err := pipe.Read(b[:]); err != nil {
				return
			}
		}
	}()
	return ended
}
