package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// node is a real guard process in directories of its own.
type node struct {
	t      *testing.T
	cmd    *exec.Cmd
	wrap   []string // starts the guard with less than full rights
	ended  chan struct{}
	run    string
	state  string
	data   string
	diary  string
	socket string
}

func startNode(t *testing.T, extra ...string) *node {
	t.Helper()
	n := newNode(t)
	n.startGuard(nil, extra...)
	return n
}

func newNode(t *testing.T) *node {
	t.Helper()
	top, err := os.MkdirTemp("", "pgk") //nolint:usetesting // t.TempDir is too long for a socket
	noErr(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	n := &node{
		t: t, run: filepath.Join(top, "run"), state: filepath.Join(top, "state"),
		data: filepath.Join(top, "data"), diary: filepath.Join(top, "diary"),
	}
	n.socket = filepath.Join(n.run, SocketName)
	noErr(t, os.MkdirAll(filepath.Join(n.data, "pg_wal"), 0o700))
	noErr(t, os.WriteFile(filepath.Join(n.data, "standby.signal"), nil, 0o600))
	t.Cleanup(func() { _, _ = KillAll(n.data, 30*time.Second) })
	return n
}

func (n *node) startGuard(files []*os.File, extra ...string) {
	n.t.Helper()
	argv := slices.Concat(n.wrap, []string{os.Args[0], n.run, n.state}, extra)
	n.cmd = exec.Command(argv[0], argv[1:]...)
	n.cmd.Env = append(os.Environ(), roleEnv+"=guard")
	n.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	n.cmd.ExtraFiles = files
	n.cmd.Stderr = &logWriter{n.t}
	n.cmd.WaitDelay = time.Second // whoever holds stderr
	noErr(n.t, n.cmd.Start())
	ended := make(chan struct{})
	cmd := n.cmd
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	n.ended = ended
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	n.until("the guard listens", func() bool {
		_, err := Peek(n.t.Context(), n.socket)
		return err == nil
	})
}

type logWriter struct{ t *testing.T }

func (w *logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// until waits for a condition, with a deadline.
func (n *node) until(what string, ok func() bool) {
	n.t.Helper()
	waitUntil(n.t, what, ok)
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (n *node) worker(session uint64) *Client {
	n.t.Helper()
	c, err := Connect(n.t.Context(), n.socket)
	if err == nil {
		_, err = c.Hello(n.t.Context(), session, "test")
	}
	noErr(n.t, err)
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

// serve starts the fake postmaster and waits until its backends run.
func (n *node) serve(c *Client, backends int, atQuit string, writable bool, term int64) Started {
	n.t.Helper()
	if writable {
		noErr(n.t, os.Remove(filepath.Join(n.data, "standby.signal")))
	}
	s, err := c.Start(n.t.Context(), StartOptions{
		Argv: []string{os.Args[0], strconv.Itoa(backends), atQuit, n.diary},
		Env:  append(os.Environ(), roleEnv+"=postmaster"), DataDir: n.data,
		LogPath: n.diary + ".log", Writable: writable, Term: term,
	})
	noErr(n.t, err)
	n.until("the server is up", func() bool { return strings.Contains(n.read(n.diary), "up") })
	if got := n.leftovers(); got != backends+1 {
		n.t.Fatalf("%d processes in the data directory, want %d", got, backends+1)
	}
	return s
}

func (n *node) read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.t.Fatal(err)
	}
	return string(b)
}

func (n *node) leftovers() int {
	n.t.Helper()
	pids, err := Leftovers(n.data)
	noErr(n.t, err)
	return len(pids)
}

func event(t *testing.T, c *Client, kind Kind) Event {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-c.Events():
			if !ok {
				t.Fatalf("connection ended before %s: %v", kind, c.Err())
			}
			if e.Kind == kind {
				return e
			}
		case <-limit.C:
			t.Fatalf("no event %s", kind)
		}
	}
}

func TestTheServerDiesWithAKilledGuard(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	n.serve(c, 2, "quit", false, 0)
	noErr(t, n.cmd.Process.Kill())
	n.until("SIGQUIT reached the server", func() bool { return strings.Contains(n.read(n.diary), "quit") })
	n.until("nothing is left", func() bool { return n.leftovers() == 0 })
	for range c.Events() {
	}
	wantErr(t, c.Err(), ErrDisconnected)
}

func TestADeadlineKillsAServerThatIgnoresSIGQUIT(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	const margin = 6 * time.Second
	noErr(t, c.Deadline(t.Context(), 5, Now()+5*time.Minute, margin))
	n.serve(c, 3, "ignore", true, 5)
	noErr(t, c.Deadline(t.Context(), 5, Now()+100*time.Millisecond, margin)) // once the server is up, however long that took
	fired := event(t, c, DeadlineFired)
	all := event(t, c, StoppedAll)
	e := event(t, c, Exited)
	if got := n.leftovers(); got != 0 {
		t.Errorf("%d processes left after the report", got)
	}
	if !strings.Contains(n.read(n.diary), "quit") || e.Signal != int(unix.SIGKILL) || e.Leftovers != 3 {
		t.Errorf("exit %+v, diary %q; want SIGQUIT, then SIGKILL and 3 leftovers", e, n.read(n.diary))
	}
	if late := fired.At - all.At; all.Took < margin/3 || all.Took > margin {
		t.Errorf("took %v (%v), want from a third of the margin to the margin", all.Took, late)
	}
	n.until("the kill is remembered", func() bool {
		return n.read(filepath.Join(n.state, lastKillName)) == strconv.FormatInt(int64(all.Took), 10)
	})
}

func TestAFrozenWorkerIsFencedAndRefusedWhenItThaws(t *testing.T) {
	n := startNode(t)
	noErr(t, os.Remove(filepath.Join(n.data, "standby.signal")))
	worker := exec.Command(os.Args[0], n.socket, n.data, n.diary)
	worker.Env = append(os.Environ(), roleEnv+"=worker")
	noErr(t, worker.Start())
	done := make(chan struct{})
	go func() { defer close(done); _ = worker.Wait() }()
	t.Cleanup(func() { _ = worker.Process.Kill(); <-done })
	n.until("the server is up", func() bool { return strings.Contains(n.read(n.diary), "up") })
	noErr(t, worker.Process.Signal(unix.SIGSTOP))
	n.until("the server is stopped", func() bool { return n.leftovers() == 0 })
	n.until("and reported so", func() bool {
		st, err := Peek(t.Context(), n.socket)
		return err == nil && st.Server == nil && st.EndedTerm == 5
	})
	noErr(t, worker.Process.Signal(unix.SIGCONT))
	n.until("the late renewal is refused", func() bool {
		return strings.Contains(n.read(n.diary), "worker: deadline: guard: "+ErrTermEnded.Error())
	})
}

func TestBackendsThatOutliveThePostmasterAreKilledBeforeTheReport(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	s := n.serve(c, 5, "quit", false, 0)
	before := Now()
	noErr(t, unix.Kill(s.PID, unix.SIGKILL))
	e := event(t, c, Exited)
	t.Logf("SIGKILL to event: %v", Now()-before)
	if e.Signal != int(unix.SIGKILL) || e.Leftovers != 5 || n.leftovers() != 0 {
		t.Errorf("exit %+v and %d processes, want signal 9, 5 leftovers killed, none left", e, n.leftovers())
	}
	if took := Now() - before; took > 10*time.Second {
		t.Errorf("took %v, want a few ms", took)
	}
	n.until("the guard has reaped the orphans", func() bool { return !hasZombies(n.cmd.Process.Pid) })
}

func hasZombies(ppid int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, _ := os.ReadFile(s)
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(ppid) {
			return true
		}
	}
	return false
}

func TestAGuardIsHardenedAndItsServerIsNot(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	s := n.serve(c, 1, "quit", false, 0)
	if capable(unix.CAP_SYS_RESOURCE) { // else lowering the score is not allowed
		adj := n.read("/proc/" + strconv.Itoa(n.cmd.Process.Pid) + "/oom_score_adj")
		if strings.TrimSpace(adj) != "-1000" {
			t.Errorf("guard has oom_score_adj %s", adj)
		}
		if got := strings.TrimSpace(n.read("/proc/" + strconv.Itoa(s.PID) + "/oom_score_adj")); got != "0" {
			t.Errorf("server has oom_score_adj %s, want 0", got)
		}
	}
	if sid, err := unix.Getsid(s.PID); err != nil || sid != s.PID {
		t.Errorf("server is in session %d, want one of its own (%v)", sid, err)
	}
	// What is caught in the guard is not ignored in the server.
	if got := ignored(n.read("/proc/" + strconv.Itoa(s.PID) + "/status")); got&(1<<(unix.SIGPIPE-1)) != 0 {
		t.Errorf("server ignores signals %x", got)
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		noErr(t, n.cmd.Process.Signal(sig))
	}
	noErr(t, c.Ping(t.Context()))
	noErr(t, c.Reload(t.Context()))
	n.until("SIGHUP reached the server", func() bool { return strings.Contains(n.read(n.diary), "hangup") })
	info, err := os.Stat(n.run)
	noErr(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("runtime directory has mode %o", info.Mode().Perm())
	}
	if c.PeerPID() != n.cmd.Process.Pid {
		t.Errorf("peer pid %d, guard is %d", c.PeerPID(), n.cmd.Process.Pid)
	}
}

func ignored(status string) uint64 {
	_, rest, _ := strings.Cut(status, "SigIgn:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	v, _ := strconv.ParseUint(field, 16, 64)
	return v
}

func TestAnOrphanOfTheServerBecomesTheGuardsChild(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	s, err := c.Start(t.Context(), StartOptions{
		Argv: []string{"/bin/sh", "-c", "(sleep 600 &); exec sleep 601"}, DataDir: n.data, Env: os.Environ(),
		LogPath: n.diary + ".log", // not the guard's stderr, which the test reads to its end
	})
	noErr(t, err)
	n.until("the orphan is the guard's", func() bool {
		pids, err := Leftovers(n.data)
		noErr(t, err)
		return slices.ContainsFunc(pids, func(pid int) bool { return pid != s.PID && Parent(pid) == n.cmd.Process.Pid })
	})
}

func TestAnotherUserIsNotServed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	n := startNode(t)
	noErr(t, os.Chmod(filepath.Dir(n.run), 0o755))
	noErr(t, os.Chmod(n.run, 0o755)) // the directory would keep others out already
	noErr(t, os.Chmod(n.socket, 0o777))
	answer := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with it
		answer <- askAs(nobody, n.socket)
	}()
	if got := <-answer; got != "" {
		t.Errorf("another user was answered %q", got)
	}
	noErr(t, n.worker(1).Ping(t.Context()))
}

// askAs connects as another user, on a thread that is given up to it.
func askAs(uid uintptr, socket string) string {
	keep := ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uid, keep); errno != 0 {
		return errno.Error()
	}
	// Back to root: were this the first thread, it would not end, and the whole
	// process would look as if it belonged to that user.
	defer func() { _, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep) }()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return err.Error()
	}
	_, _ = unix.Write(fd, encodeLine(request{ID: 1, Op: "status"})) // it may have hung up already
	b := make([]byte, 4096)
	read, _ := unix.Read(fd, b)
	return string(b[:max(0, read)])
}

func TestAFrozenGuardIsNoticedByPing(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	n.serve(c, 1, "ignore", false, 0)
	noErr(t, n.cmd.Process.Signal(unix.SIGSTOP))
	n.until("the guard is frozen", func() bool {
		return strings.Contains(n.read(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid)), "State:\tT")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	wantErr(t, c.Ping(ctx), context.DeadlineExceeded)
	// The worker then stops the server itself.
	killed, err := KillAll(n.data, 30*time.Second)
	noErr(t, err)
	if killed != 2 || n.leftovers() != 0 {
		t.Errorf("killed %d, %d left, want 2 and 0", killed, n.leftovers())
	}
	noErr(t, n.cmd.Process.Signal(unix.SIGCONT))
	event(t, c, Exited)
	noErr(t, c.Ping(t.Context()))
}

func TestAServerOfSomebodyElseIsAdopted(t *testing.T) {
	n := startNode(t)
	foreign := exec.Command(os.Args[0], "1", "quit", n.diary)
	foreign.Env = append(os.Environ(), roleEnv+"=postmaster")
	foreign.Dir = n.data
	noErr(t, foreign.Start())
	done := make(chan struct{})
	go func() { defer close(done); _ = foreign.Wait() }()
	n.until("the server is up", func() bool { return strings.Contains(n.read(n.diary), "up") })
	c := n.worker(1)
	_, err := c.Adopt(t.Context(), os.Getpid(), n.data, false)
	wantErr(t, err, ErrBadRequest) // this process does not sit there
	_, err = c.Adopt(t.Context(), foreign.Process.Pid, n.data, true)
	noErr(t, err)
	noErr(t, c.Deadline(t.Context(), 5, Now()+100*time.Millisecond, time.Second))
	if e := event(t, c, Exited); e.Status != -1 || e.PID != foreign.Process.Pid {
		t.Errorf("exit %+v, want pid %d and an unknown status", e, foreign.Process.Pid)
	}
	<-done
	if n.leftovers() != 0 {
		t.Error("something is left")
	}
}

func TestTheEndOfTheParentsPipeEndsServerAndGuard(t *testing.T) {
	n := newNode(t)
	r, w, err := os.Pipe()
	noErr(t, err)
	defer w.Close()
	n.startGuard([]*os.File{r}, "3")
	noErr(t, r.Close())
	c := n.worker(1)
	n.serve(c, 1, "quit", false, 0)
	noErr(t, w.Close())
	event(t, c, Exited)
	<-n.ended
	if n.leftovers() != 0 {
		t.Error("something is left")
	}
}

func TestASecondGuardIsRefusedAndNamesTheFirst(t *testing.T) {
	n := startNode(t)
	second := exec.Command(os.Args[0], n.run, n.state)
	second.Env = append(os.Environ(), roleEnv+"=guard")
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("pid %d", n.cmd.Process.Pid)) {
		t.Errorf("second guard: %v, %s", err, out)
	}
	noErr(t, n.worker(1).Ping(t.Context()))
}

func TestAGuardWhoseLogIsGoneLives(t *testing.T) {
	n := newNode(t)
	r, w, err := os.Pipe()
	noErr(t, err)
	cmd := exec.Command(os.Args[0], n.run, n.state)
	cmd.Env = append(os.Environ(), roleEnv+"=guard")
	cmd.Stderr = w
	noErr(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	noErr(t, w.Close())
	noErr(t, r.Close())
	n.until("the guard listens", func() bool { _, err := Peek(t.Context(), n.socket); return err == nil })
	for session := range uint64(5) {
		noErr(t, n.worker(session+1).Ping(t.Context())) // every hello writes a line
	}
}

func TestASocketPathThatIsTooLongIsRefused(t *testing.T) {
	err := Run(t.Context(), Options{RuntimeDir: "/tmp/" + strings.Repeat("x", 100)})
	if err == nil || !strings.Contains(err.Error(), "shorter runtime directory") {
		t.Errorf("got %v", err)
	}
}

func TestAServerRunsAsItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	n := startNode(t)
	n.serveAsNobody(n.worker(1), "0")
	for _, name := range []string{"promote", "pg_wal/00000002.history"} {
		var st unix.Stat_t
		noErr(t, unix.Stat(filepath.Join(n.data, name), &st))
		if st.Uid != nobody || st.Mode&0o777 != 0o600 {
			t.Errorf("%s belongs to %d with mode %o", name, st.Uid, st.Mode&0o777)
		}
	}
	noErr(t, n.cmd.Process.Kill())
	n.until("SIGQUIT reached the server", func() bool { return strings.Contains(n.read(n.diary), "quit") })
}

// A worker kills the very guard that it has connected to, and nobody that has its number
// by the time it does.
func TestAWorkerKillsItsGuardAlone(t *testing.T) {
	n := startNode(t)
	c := n.worker(1)
	noErr(t, c.KillPeer())
	<-n.ended
	noErr(t, c.KillPeer()) // it is gone, and its number is free
	_ = c.Close()          // the guard has hung up
	if err := c.KillPeer(); err == nil {
		t.Error("who has hung up knows of no guard any more")
	}
}

// In most containers root may not look at the working directory of another user's
// process. A guard that then saw nothing would prove anything.
func TestAGuardWithoutPtraceStillSeesEveryProcess(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("needs root and setpriv")
	}
	n := newNode(t)
	n.wrap = []string{setpriv, "--bounding-set=-sys_ptrace,-sys_admin", "--"}
	n.startGuard(nil)
	c := n.worker(1)
	s := n.serveAsNobody(c, "3")
	noErr(t, unix.Kill(s.PID, unix.SIGKILL))
	if e := event(t, c, Exited); e.Leftovers != 3 || n.leftovers() != 0 {
		t.Errorf("exit %+v, %d processes left; want 3 leftovers killed and none left", e, n.leftovers())
	}
}

// A program that its user may not read hides its processes, and what they do would be
// proved gone. It is not started.
func TestAServerThatIsNotSeenIsNotStarted(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("needs root and setpriv")
	}
	n := newNode(t)
	n.wrap = []string{setpriv, "--bounding-set=-sys_ptrace,-sys_admin", "--"}
	n.startGuard(nil)
	c := n.worker(1)
	top := filepath.Dir(n.data)
	noErr(t, os.Chmod(top, 0o777))
	noErr(t, filepath.WalkDir(n.data, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(p, nobody, nobody))
	}))
	sleep, err := exec.LookPath("sleep")
	noErr(t, err)
	b, err := os.ReadFile(sleep)
	noErr(t, err)
	program := filepath.Join(top, "postgres")
	for mode, starts := range map[os.FileMode]bool{0o711: false, 0o755: true} {
		noErr(t, os.WriteFile(program, b, 0o755))
		noErr(t, os.Chmod(program, mode))
		s, err := c.Start(t.Context(), StartOptions{Argv: []string{program, "60"}, DataDir: n.data, Owner: &Owner{UID: nobody, GID: nobody}, LogPath: filepath.Join(top, "log")})
		if (err == nil) != starts {
			t.Errorf("mode %o: %v", mode, err)
		}
		if err == nil {
			noErr(t, unix.Kill(s.PID, unix.SIGKILL))
			event(t, c, Exited)
		}
		noErr(t, os.Remove(program))
	}
}

// A unit that puts the agent before others (Nice=) must not put the server beside it.
func TestAServerHasNoneOfItsGuardsPriority(t *testing.T) {
	if !capable(unix.CAP_SYS_NICE) {
		t.Skip("needs the right to a higher priority")
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	noErr(t, err)
	n := newNode(t)
	n.wrap = []string{"nice", "-n", strconv.Itoa(-5 - (20 - own))} // -5, whatever the tests run with
	n.startGuard(nil)
	s := n.serve(n.worker(1), 1, "quit", false, 0)
	for pid, want := range map[int]int{n.cmd.Process.Pid: -5, s.PID: 0} {
		got, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
		noErr(t, err)
		if 20-got != want {
			t.Errorf("process %d (the guard is %d) has nice %d, want %d", pid, n.cmd.Process.Pid, 20-got, want)
		}
	}
}

const nobody = 65534

// serveAsNobody starts the fake postmaster as another user and promotes it.
func (n *node) serveAsNobody(c *Client, backends string) Started {
	t := n.t
	t.Helper()
	top := filepath.Dir(n.data)
	noErr(t, os.Chmod(top, 0o777))
	noErr(t, filepath.WalkDir(n.data, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(p, nobody, nobody))
	}))
	self := filepath.Join(top, "test.bin") // the test binary may lie where nobody cannot go
	b, err := os.ReadFile(os.Args[0])
	noErr(t, err)
	noErr(t, os.WriteFile(self, b, 0o755))
	s, err := c.Start(t.Context(), StartOptions{
		Argv: []string{self, backends, "quit", n.diary}, Env: []string{roleEnv + "=postmaster"},
		DataDir: n.data, Owner: &Owner{UID: nobody, GID: nobody}, LogPath: filepath.Join(top, "log"),
	})
	noErr(t, err)
	n.until("the server is up", func() bool { return strings.Contains(n.read(n.diary), "up uid=65534") })
	noErr(t, c.Deadline(t.Context(), 5, Now()+5*time.Minute, time.Second))
	noErr(t, c.Promote(t.Context(), 5, n.data, map[string]string{"00000002.history": "1\t0/3000000\treserved\n"}))
	n.until("SIGUSR1 reached the server", func() bool { return strings.Contains(n.read(n.diary), "user defined signal 1") })
	return s
}
