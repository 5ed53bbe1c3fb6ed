package guard

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// house is where gates come from: each is a process that shows that it is alive until
// it is told to be quiet.
type house struct {
	procs *table
	clock *bubbleClock

	mu      sync.Mutex
	until   time.Duration
	renewed time.Duration
	started []Gate
	pid     int
	quiet   bool
	slow    bool // no gate begins
	beat    time.Duration
}

func (h *house) Publish(until, renewed time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until, h.renewed = until, renewed
}

func (h *house) Spawn(g Gate) (int, error) {
	pid, err := h.procs.Spawn(directory{path: "/"}, request{DataDir: "/"})
	if err != nil {
		return 0, err
	}
	h.procs.set(func(p *table) { // a gate has no backends
		for i := 1; i <= p.backends; i++ {
			delete(p.live, pid+i)
		}
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started, h.pid, h.quiet = append(h.started, g), pid, h.slow
	return pid, nil
}

func (h *house) Report() GateReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.quiet {
		h.beat = h.clock.Now()
	}
	return GateReport{Beat: h.beat, Streaming: !h.slow}
}

func (h *house) Gone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pid = 0
}

func (h *house) freeze() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quiet = true
}

// now is the gate that runs, how many there have been, and the deadline it has.
func (h *house) now() (pid, starts int, until, renewed time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pid, len(h.started), h.until, h.renewed
}

// gated starts a server that wants a gate.
func (w *world) gated(c *Client, writable bool, term int64) {
	w.t.Helper()
	if writable {
		w.primaryDisk()
	}
	_, err := c.Start(w.t.Context(), StartOptions{
		Argv: []string{"/postgres"}, DataDir: dataDir, Writable: writable, Term: term, Gate: &Gate{Name: "gate-a"},
	})
	noErr(w.t, err)
	w.pass(time.Millisecond)
}

func TestAGateRunsWhileItsServerMayWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.gated(c, false, 0)
		if _, starts, _, _ := w.gates.now(); starts != 0 {
			t.Error("a standby has a gate")
		}
		noErr(t, c.Promote(t.Context(), 5, dataDir, nil))
		w.pass(time.Millisecond)
		pid, starts, _, _ := w.gates.now()
		if pid == 0 || starts != 1 {
			t.Fatalf("a promoted server has gate %d of %d", pid, starts)
		}
		if g := w.status(c).Gate; g == nil || g.Name != "gate-a" || g.PID != pid || g.Starts != 1 {
			t.Errorf("status says %+v of the gate", g)
		}
		noErr(t, c.Stop(t.Context(), Fast))
		w.event(c, Exited)
		w.pass(time.Second)
		if pid, _, _, _ := w.gates.now(); pid != 0 {
			t.Error("the gate outlives its server")
		}
	})
}

func TestAGateThatEndsIsStartedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.gated(c, true, 5)
		first, _, _, _ := w.gates.now()
		w.procs.crash(first) // it has just been started: the next waits a little
		w.pass(time.Millisecond)
		if _, starts, _, _ := w.gates.now(); starts != 1 {
			t.Error("a gate that ends at once is started without a pause")
		}
		w.pass(gatePause)
		second, starts, _, _ := w.gates.now()
		if starts != 2 || second == first || second == 0 {
			t.Fatalf("gate %d of %d, want a second one", second, starts)
		}
		w.pass(time.Second)
		w.procs.crash(second)
		w.pass(time.Millisecond)
		if _, starts, _, _ := w.gates.now(); starts != 3 {
			t.Error("a gate that had run is not started again at once: commits wait")
		}
	})
}

func TestAGateThatShowsNoSignOfLifeIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.gated(c, true, 5)
		w.pass(5 * time.Second)
		first, starts, _, _ := w.gates.now()
		if starts != 1 {
			t.Fatalf("%d gates were started, want one", starts)
		}
		w.gates.freeze()
		w.pass(gatePatience + 2*gateLook)
		if pid, starts, _, _ := w.gates.now(); starts != 2 || pid == first {
			t.Errorf("gate %d of %d, want the frozen one replaced", pid, starts)
		}
	})
}

// On a machine with far too much to do a gate needs seconds to begin: one that is killed
// for that would be followed by another that is.
func TestAGateIsLeftTheTimeToBegin(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.arm(c, 5, time.Minute)
		w.gates.slow = true
		w.gated(c, true, 5)
		w.pass(GateBegins - gateLook)
		if _, starts, _, _ := w.gates.now(); starts != 1 {
			t.Errorf("%d gates in %v, want the first one left alone", starts, GateBegins-gateLook)
		}
		w.pass(3 * gateLook)
		if _, starts, _, _ := w.gates.now(); starts != 2 {
			t.Errorf("%d gates after %v, want one that never began replaced", starts, GateBegins+2*gateLook)
		}
	})
}

func TestTheGateOfARunningServerIsExchanged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		wantErr(t, c.Gate(t.Context(), &Gate{Name: "early"}), ErrNoServer)
		w.arm(c, 5, time.Minute)
		w.mustStart(c, true, 5)
		wantErr(t, c.Gate(t.Context(), &Gate{}), ErrBadRequest)
		for i, name := range []string{"one", "one", "two"} {
			noErr(t, c.Gate(t.Context(), &Gate{Name: name, Password: "secret"}))
			w.pass(time.Second)
			if _, starts, _, _ := w.gates.now(); starts != []int{1, 1, 2}[i] {
				t.Errorf("%d gates after %q, the %dth", starts, name, i+1)
			}
		}
		noErr(t, c.Gate(t.Context(), nil))
		w.pass(time.Second)
		if pid, _, _, _ := w.gates.now(); pid != 0 || w.status(c).Gate != nil {
			t.Error("a gate that nobody wants goes on")
		}
	})
}

func TestTheGateHasTheDeadlineInForce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		w.gated(c, false, 0)
		until := func() time.Duration { _, _, until, _ := w.gates.now(); return until }
		if until() != 0 {
			t.Error("something may be confirmed before there ever was a lease")
		}
		at, sent := w.in(time.Second), w.clock.Now()
		noErr(t, c.Renewed(t.Context(), 5, sent, at, time.Second))
		if _, _, got, renewed := w.gates.now(); got != at || renewed != sent {
			t.Errorf("the gate has %v renewed at %v, want %v and %v", got, renewed, at, sent)
		}
		noErr(t, c.SetPause(t.Context(), true))
		if until() != Lifted {
			t.Error("a pause does not lift the gate's deadline")
		}
		noErr(t, c.SetPause(t.Context(), false))
		if until() != at {
			t.Error("the end of a pause does not bring the deadline back")
		}
		noErr(t, c.EndTerm(t.Context(), 5))
		if until() != 0 {
			t.Error("an ended term still confirms")
		}
		noErr(t, c.Renewed(t.Context(), 6, w.clock.Now(), w.in(time.Second), time.Second))
		w.pass(2 * time.Second)
		if until() != 0 {
			t.Error("a deadline that passed still confirms")
		}
	})
}

// A renewal that is dated in the future would count after any jump of the clocks.
func TestARenewalIsNotDatedInTheFuture(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		now := w.clock.Now()
		noErr(t, c.Renewed(t.Context(), 5, now+time.Hour, w.in(time.Second), time.Second))
		if _, _, _, renewed := w.gates.now(); renewed > now {
			t.Errorf("renewed at %v, now is %v", renewed, now)
		}
	})
}

func TestThePageOfTheGateIsSharedMemory(t *testing.T) {
	guards, err := NewPage()
	noErr(t, err)
	defer guards.close()
	gates, err := OpenPage(dup(t, guards))
	noErr(t, err)
	defer gates.close()
	if until, _ := gates.Lease(); until != 0 {
		t.Errorf("a new page has the deadline %v", until)
	}
	guards.publish(7*time.Second, 3*time.Second)
	if until, renewed := gates.Lease(); until != 7*time.Second || renewed != 3*time.Second {
		t.Errorf("the gate sees %v, %v", until, renewed)
	}
	gates.Beat(5)
	gates.Stream(true)
	gates.Confirm(99, 20*time.Microsecond)
	gates.Confirm(100, time.Hour)
	gates.Confirm(101, -1)
	gates.Withhold()
	want := GateReport{Beat: 5, Streaming: true, Position: 101, Confirmed: 3, Withheld: 1, DelaySum: time.Hour + 20*time.Microsecond}
	want.Delays[1], want.Delays[DelayBuckets-1] = 1, 1
	if got := guards.Report(); got != want {
		t.Errorf("the guard sees %+v, want %+v", got, want)
	}
	if slices.Contains(protection(t, gates), 'w') {
		t.Error("a gate can write its own deadline")
	}
}

// dup is another descriptor of the page, as an inherited one is.
func dup(t *testing.T, p *Page) int {
	t.Helper()
	fd, err := unix.Dup(int(p.file.Fd()))
	noErr(t, err)
	return fd
}

// protection is how the kernel maps a page's lease.
func protection(t *testing.T, p *Page) []byte {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	noErr(t, err)
	address := fmt.Sprintf("%x-", uintptr(unsafe.Pointer(p.lease)))
	for line := range strings.Lines(string(maps)) {
		if strings.HasPrefix(line, address) {
			return []byte(strings.Fields(line)[1])
		}
	}
	t.Fatalf("no mapping begins at %s", address)
	return nil
}
