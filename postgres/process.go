package postgres

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// job is one child process: a program of PostgreSQL that runs as the server's
// user, in a process group of its own, and never outlives us.
type job struct {
	program string
	// path is where a program lies that is none of PostgreSQL's; program names it.
	path string
	args []string
	// base is the environment; nil for childEnv. env is added to it.
	base, env []string
	stdin     string
	files     []*os.File // descriptors 3, 4, ... of the child
	// line gets every line the child writes to standard error.
	line func(string)
	// out, when given, gets every line of standard output, which is then not kept.
	out func(string)
	// oneStream: standard output is treated as standard error is.
	oneStream bool
	// stop ends the child when it is cancelled, and patience is what it gets before
	// SIGKILL; SIGTERM and killAfter when they are zero.
	stop     syscall.Signal
	patience time.Duration
}

// killAfter is the grace between SIGTERM and SIGKILL of a cancelled child.
const killAfter = 2 * time.Second

// failure is a child that ended badly; its message holds what it said last.
type failure struct {
	program string
	said    string
	err     error
}

func (f *failure) Error() string {
	if f.said == "" {
		return fmt.Sprintf("%s: %v", f.program, f.err)
	}
	return fmt.Sprintf("%s: %v: %s", f.program, f.err, f.said)
}

func (f *failure) Unwrap() error { return f.err }

// run executes j and returns its standard output.
func (s *Server) run(ctx context.Context, j job) (stdout string, err error) {
	type outcome struct {
		stdout string
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		// The kernel ends the child with the *thread* that forked it: the thread
		// must live as long as the child, and no longer.
		runtime.LockOSThread()
		ordinaryPriority()
		stdout, err := s.execute(ctx, j)
		done <- outcome{stdout, err}
	}()
	o := <-done
	return o.stdout, o.err
}

// ordinaryPriority has this thread, and so its children, come after the agent on a busy machine, where the service manager
// has given that a higher priority than others. What the system does not allow does not matter here.
func ordinaryPriority() {
	const ordinary = 20 // less the nice value, as the system call has it
	if priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && priority > ordinary {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	}
}

func (s *Server) execute(ctx context.Context, j job) (string, error) {
	cmd := exec.CommandContext(ctx, cmp.Or(j.path, s.bin(j.program)), j.args...)
	cmd.Dir = "/" // our own directory may be closed to the server's user
	if cmd.Env = append(slices.Clone(j.base), j.env...); j.base == nil {
		cmd.Env = append(s.childEnv(), j.env...)
	}
	cmd.Stdin = strings.NewReader(j.stdin)
	cmd.ExtraFiles = j.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: s.owner.credential()}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, cmp.Or(j.stop, syscall.SIGTERM)) }
	cmd.WaitDelay = cmp.Or(j.patience, killAfter)
	var stdout bytes.Buffer
	stderr := &lines{each: j.line}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	switch {
	case j.out != nil:
		cmd.Stdout = &lines{each: j.out}
	case j.oneStream:
		cmd.Stdout = stderr
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	err := cmd.Wait()
	// The group may hold more than the child: pg_basebackup forks a receiver.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err == nil {
		return stdout.String(), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return stdout.String(), &failure{program: j.program, said: s.withoutPasswords(stderr.tail()), err: err}
}

// withoutPasswords takes our passwords out of what a child said, as they are and as
// SQL, connection strings and password files write them: initdb quotes the statement that failed.
func (s *Server) withoutPasswords(said string) string {
	for _, c := range []Credentials{s.o.Superuser, s.o.Replication, s.o.Rewind} {
		for _, secret := range []string{c.Password, c.SSLPassword} {
			if secret == "" {
				continue
			}
			doubled := strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(secret)
			for _, form := range []string{doubled, escapePass(secret), strings.ReplaceAll(secret, `'`, `''`), strings.TrimSuffix(quoteConninfo(secret), "'"), secret} {
				said = strings.ReplaceAll(said, strings.TrimPrefix(form, "'"), "***")
			}
		}
	}
	return said
}

// childEnv is an environment without anything that would steer PostgreSQL's
// programs or belongs to us: only paths, language and time zone pass.
func (s *Server) childEnv() []string {
	env := []string{"LC_ALL=C", "LANG=C", "PGAPPNAME=pgkeeper", "HOME=" + s.owner.home, "USER=" + s.owner.name}
	for _, name := range []string{"PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OPENSSL_CONF", "KRB5_CONFIG"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// lines splits what a child writes and keeps the last few for messages.
type lines struct {
	each func(string)

	mu   sync.Mutex
	part []byte
	last []string
}

const (
	// keptLines of a child's output go into an error.
	keptLines = 12
	// keptLine of each.
	keptLine = 1000
	// unended bounds what is kept of output that never ends its line.
	unended = 64 << 10
)

// shortened is a line as an error and the log have it.
func shortened(line string) string {
	if len(line) > keptLine {
		return strings.ToValidUTF8(line[:keptLine], "") + "..."
	}
	return line
}

// Write takes output as it comes. pg_basebackup ends its progress with a
// carriage return on a terminal and a newline elsewhere; both count.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		cut := bytes.IndexAny(l.part, "\r\n")
		if cut < 0 && len(l.part) > unended {
			l.add(string(l.part))
			l.part = nil
		}
		if cut < 0 {
			return len(p), nil
		}
		l.add(string(l.part[:cut]))
		l.part = l.part[cut+1:]
	}
}

func (l *lines) add(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	if l.each != nil {
		l.each(line)
	}
	if l.last = append(l.last, shortened(line)); len(l.last) > keptLines {
		l.last = l.last[1:]
	}
}

// tail is what the child said last, without its progress reports.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.add(string(l.part))
		l.part = nil
	}
	var said []string
	for _, line := range l.last {
		if _, _, isProgress := parseProgress(line); !isProgress {
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}

// saidBy returns the words of a failed child, empty for any other error.
func saidBy(err error) string {
	if f, is := errors.AsType[*failure](err); is {
		return f.said
	}
	return ""
}

// secretPipe hands text to a child through a descriptor that only the server's
// user can open, so that no file ever holds it.
func (s *Server) secretPipe(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if !s.owner.self {
		err = r.Chown(int(s.owner.uid), int(s.owner.gid))
	}
	if err == nil {
		out := bufio.NewWriter(w)
		_, err = io.WriteString(out, text+"\n")
		err = errors.Join(err, out.Flush())
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a pipe: %w", err), r.Close())
	}
	return r, nil
}

// secretFile hands credentials to a child as a password file in memory, which only
// the server's user can open and which ends with its last descriptor. libpq takes
// a regular file only, so a pipe does not do; an environment variable is there for
// everybody of the same user to read in /proc, and is inherited by grandchildren.
// Nil when there is no password.
func (s *Server) secretFile(c Credentials) (*os.File, error) {
	if c.Password == "" {
		return nil, nil
	}
	fd, err := unix.MemfdCreate("pgkeeper-passfile", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("prepare a password file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pgkeeper-passfile")
	_, err = f.Write(passLine(c))
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err == nil && !s.owner.self {
		err = f.Chown(int(s.owner.uid), int(s.owner.gid))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a password file: %w", err), f.Close())
	}
	return f, nil
}

// copying runs pg_basebackup or pg_rewind: with the lock of the job, and with the
// password of c where passPath says.
func (s *Server) copying(ctx context.Context, c Credentials, lock *os.File, j job) (stdout string, err error) {
	secret, err := s.secretFile(c)
	if err != nil {
		return "", err
	}
	j.files = []*os.File{lock}
	if secret != nil {
		defer secret.Close()
		j.files = append(j.files, secret)
	}
	return s.run(ctx, j)
}

// passPath is where a child started by copying finds its password file: behind
// the lock, its descriptor 3.
const passPath = "/proc/self/fd/4"
