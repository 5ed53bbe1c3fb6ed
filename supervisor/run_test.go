package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// agent is a supervisor process with fakes for worker and guard.
type agent struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
	env   []string
}

func newAgent(t *testing.T, files ...string) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir()}
	for _, f := range files {
		noErr(t, os.WriteFile(filepath.Join(a.dir, f), nil, 0o600))
	}
	t.Cleanup(func() { a.endAll() })
	return a
}

// endAll ends every process that was started for this test's own directory.
func (a *agent) endAll() {
	a.until("no process of the test is left", func() bool {
		left := 0
		cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range cmdlines {
			if b, _ := os.ReadFile(path); strings.Contains(string(b), a.dir) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				_ = unix.Kill(pid, unix.SIGKILL)
				left++
			}
		}
		return left == 0
	})
}

func (a *agent) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"supervisor", a.dir}, args...)...)
	cmd.Env = append(append(os.Environ(), roleEnv+"=1"), a.env...)
	return cmd
}

func (a *agent) start(args ...string) {
	a.t.Helper()
	a.run(a.command(args...))
}

func (a *agent) run(cmd *exec.Cmd) {
	a.t.Helper()
	a.cmd = cmd
	log, err := os.OpenFile(filepath.Join(a.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	noErr(a.t, err)
	defer log.Close()
	cmd.Stderr = log
	noErr(a.t, cmd.Start())
	ended := make(chan struct{})
	a.ended = ended
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	a.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if a.t.Failed() {
			a.t.Logf("log:\n%s\ndiary:\n%s", a.read("log"), a.read("diary"))
		}
	})
}

func (a *agent) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(a.dir, name))
	return string(b)
}

// pids lists the processes of a role in the order they started.
func (a *agent) pids(who string) []int {
	var pids []int
	for line := range strings.Lines(a.read("diary")) {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == who && (strings.HasPrefix(f[2], "notify=") || f[2] == "sid") {
			pid, _ := strconv.Atoi(f[1])
			pids = append(pids, pid)
		}
	}
	return pids
}

// nth waits for the n-th process of a role.
func (a *agent) nth(who string, n int) int {
	a.t.Helper()
	a.until(fmt.Sprintf("%s number %d", who, n), func() bool { return len(a.pids(who)) >= n })
	return a.pids(who)[n-1]
}

func (a *agent) signal(sig unix.Signal) {
	a.t.Helper()
	noErr(a.t, a.cmd.Process.Signal(sig))
}

func (a *agent) until(what string, ok func() bool) {
	a.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			a.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (a *agent) exit() int {
	a.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case <-a.ended:
	case <-limit.C:
		a.t.Fatal("supervisor does not end")
	}
	return a.cmd.ProcessState.ExitCode()
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestADeadWorkerIsStartedAgainAtOnce(t *testing.T) {
	a := newAgent(t)
	a.start()
	for n := 1; n <= 4; n++ {
		noErr(t, unix.Kill(a.nth("worker", n), unix.SIGKILL))
	}
	a.nth("worker", 5)
	if got := len(a.pids("guard")); got != 1 {
		t.Errorf("%d guards were started, want 1", got)
	}
}

func TestAWorkerThatKeepsCrashingIsSlowedDown(t *testing.T) {
	a := newAgent(t, "crash")
	before := now()
	a.start()
	a.until("eight crashes", func() bool { return strings.Count(a.read("diary"), "crash") >= 8 })
	if took := now() - before; took < 300*time.Millisecond {
		t.Errorf("eight crashes in %v, want at least 300 ms", took)
	}
	noErr(t, os.Remove(filepath.Join(a.dir, "crash")))
	a.nth("worker", 1)
}

func TestADeadGuardIsStartedAgainInASessionOfItsOwn(t *testing.T) {
	a := newAgent(t)
	a.start()
	worker := a.nth("worker", 1)
	first := a.nth("guard", 1)
	if !strings.Contains(a.read("diary"), fmt.Sprintf("guard %d sid %d", first, first)) {
		t.Error("guard is not the leader of its session")
	}
	noErr(t, unix.Kill(first, unix.SIGKILL))
	a.nth("guard", 2)
	if got := a.pids("worker"); len(got) != 1 || got[0] != worker {
		t.Errorf("workers %v, want the first alone", got)
	}
}

func TestTheGuardGetsNoConfigurationAndTheWorkerAllOfIt(t *testing.T) {
	a := newAgent(t)
	a.env = []string{"PGKEEPER_SUPERUSER_PASSWORD=a", "PATRONI_REPLICATION_PASSWORD=b", "PGPASSWORD=c", "PATRONIZE=d"}
	a.start()
	environment := func(pid int) []string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		noErr(t, err)
		return strings.Split(string(text), "\x00")
	}
	noErr(t, unix.Kill(a.nth("guard", 1), unix.SIGKILL))
	worker, guards := environment(a.nth("worker", 1)), [][]string{environment(a.nth("guard", 2))}
	a.signal(unix.SIGUSR2) // and as the next image starts them
	a.nth("worker", 2)
	noErr(t, unix.Kill(a.nth("guard", 2), unix.SIGKILL))
	guards = append(guards, environment(a.nth("guard", 3)))
	for i, entry := range a.env {
		if !slices.Contains(worker, entry) {
			t.Errorf("the worker lacks %s", entry)
		}
		for _, guard := range guards {
			if got, want := slices.Contains(guard, entry), i == 3; got != want {
				t.Errorf("%s in the guard's environment: %t, want %t", entry, got, want)
			}
		}
	}
}

func TestTheGuardOutlivesTheSupervisorAndIsFoundByTheNext(t *testing.T) {
	a := newAgent(t)
	a.start()
	guard, worker := a.nth("guard", 1), a.nth("worker", 1)
	a.signal(unix.SIGKILL)
	<-a.ended
	a.start()
	a.nth("worker", 2) // which replaces the orphan
	a.until("the orphan worker is gone", func() bool { return !alive(worker) })
	if !alive(guard) || len(a.pids("guard")) != 1 {
		t.Fatalf("guards %v, want %d alone and alive", a.pids("guard"), guard)
	}
	// Found is not fathered: its death must be noticed all the same.
	noErr(t, unix.Kill(guard, unix.SIGKILL))
	a.nth("guard", 2)
}

func TestAFrozenOrphanWorkerIsReplaced(t *testing.T) {
	a := newAgent(t)
	a.start()
	worker := a.nth("worker", 1)
	noErr(t, unix.Kill(worker, unix.SIGSTOP))
	a.signal(unix.SIGKILL)
	<-a.ended
	a.start()
	a.nth("worker", 2)
	a.until("the orphan worker is gone", func() bool { return !alive(worker) })
}

func TestASecondAgentIsRefusedAndNamesTheFirst(t *testing.T) {
	a := newAgent(t)
	a.start()
	worker := a.nth("worker", 1)
	out, err := a.command().CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("pid %d", a.cmd.Process.Pid)) {
		t.Errorf("second agent: %v, %s", err, out)
	}
	if !alive(worker) {
		t.Error("the first agent's worker is gone")
	}
}

func TestAWorkerOfALiveSupervisorIsNeverReplaced(t *testing.T) {
	a := newAgent(t)
	a.start()
	worker := a.nth("worker", 1)
	_, err := TakeWorkerLock(a.dir)
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), strconv.Itoa(a.cmd.Process.Pid)) {
		t.Errorf("got %v, want %v and the supervisor's pid", err, ErrRunning)
	}
	if !alive(worker) {
		t.Error("the worker is gone")
	}
}

func TestARefusedConfigurationEndsTheAgent(t *testing.T) {
	a := newAgent(t, "refuse")
	a.start()
	if code := a.exit(); code != ExitRefused || !strings.Contains(a.read("log"), ErrRefused.Error()) {
		t.Errorf("exit code %d, log %s", code, a.read("log"))
	}
}

func TestTermStopsTheWorkerAndEndsTheAgent(t *testing.T) {
	a := newAgent(t)
	a.start()
	worker := a.nth("worker", 1)
	a.signal(unix.SIGTERM)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if want := fmt.Sprintf("worker %d terminated", worker); !strings.Contains(a.read("diary"), want) {
		t.Errorf("diary %q lacks %q", a.read("diary"), want)
	}
	if len(a.pids("worker")) != 1 {
		t.Error("a worker was started while stopping")
	}
}

func TestASecondInterruptIsPassedOnAsStopAtOnce(t *testing.T) {
	a := newAgent(t, "stubborn")
	a.start()
	worker := a.nth("worker", 1)
	a.signal(unix.SIGINT)
	a.until("TERM reached the worker", func() bool { return strings.Contains(a.read("diary"), "terminated") })
	a.signal(unix.SIGINT)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(a.read("diary"), fmt.Sprintf("worker %d interrupt", worker)) {
		t.Errorf("diary %q", a.read("diary"))
	}
}

func TestAGuardThatEndsInOrderWhileTheAgentStopsIsNotStartedAgain(t *testing.T) {
	a := newAgent(t, "stubborn")
	a.start()
	a.nth("worker", 1)
	guard := a.nth("guard", 1)
	a.signal(unix.SIGTERM)
	a.until("TERM reached the worker", func() bool { return strings.Contains(a.read("diary"), "terminated") })
	noErr(t, unix.Kill(guard, unix.SIGTERM)) // dismissed, as a worker does it
	a.until("the guard is reaped", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", guard))
		return errors.Is(err, os.ErrNotExist)
	})
	a.signal(unix.SIGINT)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if guards := a.pids("guard"); len(guards) != 1 || strings.Count(a.read("log"), "guard started") != 1 {
		t.Errorf("guards %v: one was started that would outlive the agent", guards)
	}
}

func TestAWorkerThatDoesNotStopIsKilledInTheEnd(t *testing.T) {
	a := newAgent(t, "stubborn", "impatient")
	a.start()
	worker := a.nth("worker", 1)
	a.signal(unix.SIGTERM)
	if code := a.exit(); code != 128+9 || !strings.Contains(a.read("log"), ErrNotStopped.Error()) {
		t.Errorf("exit code %d, log %s", code, a.read("log"))
	}
	if alive(worker) {
		t.Error("the worker lives")
	}
}

func TestUsr2ReplacesSupervisorAndWorkerUnderTheSamePid(t *testing.T) {
	a := newAgent(t)
	a.start()
	first, guard := a.nth("worker", 1), a.nth("guard", 1)
	for n := 2; n <= 3; n++ { // the new image can do it again
		a.signal(unix.SIGUSR2)
		a.nth("worker", n)
	}
	if !strings.Contains(a.read("diary"), fmt.Sprintf("worker %d user defined signal 2", first)) || alive(first) {
		t.Errorf("the old worker was not asked to leave: %q", a.read("diary"))
	}
	if !alive(guard) || len(a.pids("guard")) != 1 {
		t.Errorf("guards %v, want %d untouched", a.pids("guard"), guard)
	}
	if out, err := a.command().CombinedOutput(); err == nil {
		t.Errorf("the lock was lost in the upgrade: %s", out)
	}
	noErr(t, unix.Kill(guard, unix.SIGKILL)) // still a child of the new image
	a.nth("guard", 2)
	a.signal(unix.SIGTERM)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAFrozenWorkerDoesNotHoldUpAnUpgrade(t *testing.T) {
	a := newAgent(t)
	a.start()
	worker := a.nth("worker", 1)
	noErr(t, unix.Kill(worker, unix.SIGSTOP))
	a.signal(unix.SIGUSR2)
	a.nth("worker", 2)
	if alive(worker) {
		t.Error("the frozen worker is still there")
	}
}

func TestAnUpgradeToABrokenBinaryChangesNothing(t *testing.T) {
	a := newAgent(t)
	program := filepath.Join(a.dir, "agent.bin")
	b, err := os.ReadFile(os.Args[0])
	noErr(t, err)
	noErr(t, os.WriteFile(program, b, 0o700))
	cmd := a.command()
	cmd.Path, cmd.Args[0] = program, program
	a.run(cmd)
	worker := a.nth("worker", 1)
	noErr(t, os.Remove(program)) // a running program cannot be written to
	noErr(t, os.WriteFile(program, []byte("no program\x00"), 0o700))
	a.signal(unix.SIGUSR2)
	a.until("the failure is said", func() bool { return strings.Contains(a.read("log"), "upgrade failed") })
	a.signal(unix.SIGHUP)
	a.until("the worker still gets signals", func() bool { return strings.Contains(a.read("diary"), "hangup") })
	if got := a.pids("worker"); len(got) != 1 || !alive(worker) {
		t.Errorf("workers %v, want %d alone", got, worker)
	}
}

func TestTheEndOfTheParentEndsTheAgent(t *testing.T) {
	r, w, err := os.Pipe()
	noErr(t, err)
	a := newAgent(t, "stubborn")
	cmd := a.command("3")
	cmd.ExtraFiles = []*os.File{r}
	a.run(cmd)
	noErr(t, r.Close())
	worker := a.nth("worker", 1)
	noErr(t, w.Close())
	a.exit()
	a.until("the worker is gone", func() bool { return !alive(worker) })
}

func TestTheServiceManagerIsTold(t *testing.T) {
	a := newAgent(t)
	path := filepath.Join(a.dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	noErr(t, err)
	defer c.Close()
	// So seldom that its pings do not fill the queue while this process stands still: what
	// there is no room for is said later, but an agent that ends has no later.
	a.env = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=1000000"}
	a.start()
	told := func(want string) {
		t.Helper()
		noErr(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			noErr(t, err)
			if strings.HasPrefix(string(b[:n]), want) {
				return
			}
		}
	}
	told("STATUS=running")
	told("READY=1")
	told("WATCHDOG=1")
	told("WATCHDOG=1")
	a.signal(unix.SIGHUP)
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	a.signal(unix.SIGUSR2) // the new image speaks to the same service manager
	told("READY=1")
	a.signal(unix.SIGTERM)
	told("STOPPING=1")
	a.exit() // while nobody reads the pings
	if strings.Contains(a.read("diary"), `notify="/`) {
		t.Error("the worker was given the service manager's socket")
	}
}

func TestAServiceManagerThatDoesNotReadHoldsNothingUp(t *testing.T) {
	a := newAgent(t)
	path := filepath.Join(a.dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	noErr(t, err)
	defer c.Close()
	a.env = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=2000"} // fills the queue at once
	a.start()
	for n := 1; n <= 3; n++ {
		noErr(t, unix.Kill(a.nth("worker", n), unix.SIGKILL))
	}
	a.nth("worker", 4)
	a.signal(unix.SIGTERM)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// As PID 1 of a container everything orphaned becomes a child of the supervisor.
func TestOrphansAreReaped(t *testing.T) {
	for name, before := range map[string]string{"one that lives for a while": "living", "one that ended before": "ended"} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			cmd := a.command()
			cmd.Args = append([]string{cmd.Args[0], "heir", a.dir, before}, cmd.Args[1:]...)
			a.run(cmd)
			a.nth("worker", 1)
			a.until("the inherited child is reaped", func() bool { return len(children(a.cmd.Process.Pid)) == 2 })
		})
	}
}

func children(ppid int) []string {
	var all []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, _ := os.ReadFile(s)
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(ppid) {
			all = append(all, s)
		}
	}
	return all
}

func TestBackoffBeginsAfterFiveQuickDeathsAndEndsAtTwoSeconds(t *testing.T) {
	for quick, want := range map[int]time.Duration{
		1: 0, 5: 0, 6: 100 * time.Millisecond, 7: 200 * time.Millisecond, 10: 1600 * time.Millisecond, 11: 2 * time.Second, 1000: 2 * time.Second,
	} {
		if got := backoff(quick); got != want {
			t.Errorf("after %d quick deaths: %v, want %v", quick, got, want)
		}
	}
	c := child{since: 0}
	for range 7 {
		c.died(quickLife - 1)
	}
	c.died(quickLife)
	if c.quick != 1 || c.retryAt != quickLife {
		t.Errorf("a long life does not reset the count: %+v", c)
	}
}
