package sim

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// longLease is one under which a watchdog can be armed.
const longLease = `{"ttl":20,"loop_wait":2,"retry_timeout":3}`

// everyone has a watchdog in this mode.
func everyone(mode guard.WatchdogMode) []kennel {
	k := kennel{mode: mode, margin: 5 * s}
	return []kennel{k, k, k}
}

// watchdogStories are about machines with a kernel watchdog; in all pg1 leads at 10 s, under
// a lease of 20 s.
var watchdogStories = []story{
	{name: "watchdog_and_agent_frozen", kennels: everyone(guard.WatchdogAutomatic), faults: []fault{lead(10*s, "freeze agent", 60*s, 0)}, until: 80 * s},
	{name: "watchdog_and_machine_suspended", kennels: everyone(guard.WatchdogAutomatic), faults: []fault{lead(10*s, "suspend machine", 40*s, 0)}, until: 80 * s},
	{name: "watchdog_required_and_missing", kennels: everyone(guard.WatchdogRequired), until: 70 * s, faults: []fault{
		on(2, 10*s, watchdogFails, 90*s, 0), on(3, 11*s, watchdogFails, 30*s, 0), lead(14*s, "power off", 35*s, 0)}},
	{name: "watchdog_disarmed_by_a_switchover_and_a_stop", kennels: everyone(guard.WatchdogRequired), until: 80 * s, faults: []fault{
		toward(2, 10*s, "switchover"), on(2, 15*s, "agent stopped", 40*s, 0)}},
	{name: "watchdog_disarmed_by_a_pause", kennels: everyone(guard.WatchdogAutomatic), until: 90 * s, faults: []fault{
		lead(10*s, "pause", 50*s, 0), lead(14*s, "freeze agent", 30*s, 0)}},
	{name: "watchdog_and_backend_stuck_in_the_kernel", kennels: everyone(guard.WatchdogAutomatic), until: 80 * s, faults: []fault{
		lead(10*s, "stuck backend", 60*s, 0), lead(10*s, "isolated", 60*s, 0)}},
	{name: "watchdog_and_guard_killed", kennels: everyone(guard.WatchdogAutomatic), until: 60 * s, faults: []fault{lead(10*s, "kill guard", 0, 0)}},
	{name: "found_272204941681319_watchdog_left_running_in_a_pause", seed: 272204941681319, nodes: 3, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":30,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":16384,"synchronous_mode":"quorum","synchronous_mode_strict":false,"synchronous_node_count":2,"failsafe_mode":true}`, kennels: []kennel{{mode: guard.WatchdogRequired, margin: 5 * s, unit: 1}, {mode: guard.WatchdogAutomatic, unit: 2}, {mode: guard.WatchdogRequired, unit: 60}}, faults: []fault{
			{at: 17664068412, lasts: 11228454756, kind: "pause", node: 1, to: 2, n: 27},
			{at: 26053723926, lasts: 27341466669, kind: "etcd without leader", node: 2, to: 2, n: 7},
			{at: 9203119719, lasts: 28543116834, kind: "stuck backend", node: 0, to: 0, n: 16},
			{at: 13450604248, lasts: 11693409779, kind: "kill agent", node: 2, to: 0, n: 44}}},
	{name: "found_4879343392423_watchdog_that_rounds_its_timeout_up", until: 60 * s, settings: `{"ttl":21,"loop_wait":2,"retry_timeout":3}`,
		kennels: []kennel{{mode: guard.WatchdogAutomatic, unit: 2}, {mode: guard.WatchdogAutomatic, unit: 60}, {mode: guard.WatchdogOff}},
		faults:  []fault{lead(10*s, "slow wire", 25*s, 15), lead(16*s, "freeze agent", 30*s, 0)}},
}

func init() {
	for i := range watchdogStories {
		if c := &watchdogStories[i]; c.settings == "" {
			c.settings = longLease
		}
	}
}

// doggedWorld is a cluster at 10 s in which pg1 leads with an armed watchdog.
func doggedWorld(t *testing.T) (*World, *Node) {
	t.Helper()
	threads := &pool{}
	t.Cleanup(threads.close)
	w := story{settings: longLease, kennels: everyone(guard.WatchdogAutomatic)}.whole().world(threads, true)
	t.Cleanup(w.close)
	w.runUntil(10 * s)
	if n := w.nodes[0]; !n.holds() || !w.settled() || !n.leashed() {
		t.Fatalf("at the beginning: %s, %+v", w.unsettled(), n.dog)
	}
	return w, w.nodes[0]
}

// The judge relies on nothing but the reset: without it the freeze ends in two writers,
// which is no exception any more.
func TestAFrozenAgentWhoseWatchdogDoesNotBiteIsAViolation(t *testing.T) {
	for tame, want := range map[bool]string{false: "", true: "S1"} {
		w, n := doggedWorld(t)
		n.dog.tame = tame
		w.plan([]fault{{at: w.now, kind: "freeze agent", lasts: 90 * s, exact: true}})
		for end := w.now + 60*s; w.now < end && w.violation == ""; {
			w.runUntil(w.now + s/10)
		}
		if w.violation != want || w.excused != 0 || tame == (n.dog.resets == 1) {
			t.Errorf("tame %t: %q, %d excused, %d resets\n%s", tame, w.violation, w.excused, n.dog.resets, w.text)
		}
		if late := w.now - n.leaseEnd(); tame && late > s {
			t.Errorf("it is found %s after the lease has ended", late)
		}
	}
}

// Nor is a machine reset for nothing: a guard that is awake and feeds in vain is found out.
func TestAWatchdogThatIsNotFedResetsAHealthyMachineWhichIsAViolation(t *testing.T) {
	w, n := doggedWorld(t)
	n.dog.deaf = true
	w.runUntil(w.now + 30*s)
	if w.violation != "L1" || n.dog.resets != 1 {
		t.Errorf("%q, %d resets\n%s", w.violation, n.dog.resets, w.text)
	}
}

// What cannot be armed gives no right to the rule: the exception is as it was.
func TestTheNamedExceptionStandsWhereNoWatchdogIsArmed(t *testing.T) {
	w, n := doggedWorld(t)
	n.dog.uses(guard.WatchdogOff)
	w.runUntil(w.now + 3*s)
	if n.leashed() {
		t.Fatal("it stays armed")
	}
	w.plan([]fault{{at: w.now, kind: "freeze agent", lasts: 90 * s, exact: true}})
	if w.runUntil(w.now + 40*s); w.violation != "" || w.excused != 1 {
		t.Errorf("%q, %d excused\n%s", w.violation, w.excused, w.text)
	}
}

// A machine that stands still as a whole is not reset meanwhile, and goes on for a moment.
func TestASuspendedMachineIsNotSavedByItsWatchdog(t *testing.T) {
	w, n := doggedWorld(t)
	n.dog.tame = true // whether it bites afterwards is another matter
	w.plan([]fault{{at: w.now, kind: "suspend machine", lasts: 40 * s, exact: true}})
	left := n.dog.at - w.now
	w.runUntil(w.now + 39*s)
	if n.leashed() || n.dog.at != left {
		t.Errorf("leashed %t, %s are left of %s", n.leashed(), n.dog.at, left)
	}
	if w.runUntil(w.now + 20*s); w.violation != "" {
		t.Errorf("%q\n%s", w.violation, w.text)
	}
}

func TestWritingWithoutTheWatchdogThatIsRequiredIsAViolation(t *testing.T) {
	w, n := doggedWorld(t)
	n.dog.local.Mode = string(guard.WatchdogRequired)
	if w.opened(n, false); w.violation != "" {
		t.Fatalf("%q with an armed watchdog", w.violation)
	}
	n.dog.stop()
	if w.opened(n, false); w.violation != "" {
		t.Fatalf("%q of one that goes on after a backend has crashed", w.violation)
	}
	n.seen.pid = 0
	if w.opened(n, false); w.violation != "S1" {
		t.Errorf("%q", w.violation)
	}
}

func TestAResetInAPauseIsAViolation(t *testing.T) {
	w, n := doggedWorld(t)
	w.patch("pause", true)
	w.runUntil(w.now + 5*s)
	if n.dog.running {
		t.Fatal("a pause leaves it armed")
	}
	n.dog.by = n.guard
	if n.dog.judge(); w.violation != "S6" {
		t.Errorf("%q", w.violation)
	}
}

// What the kernel does: it closes what a dead process had open, feeds it once more, and
// lets it run on.
func TestTheWatchdogOfAKilledGuardRunsOn(t *testing.T) {
	w, n := doggedWorld(t)
	n.supervisor.freeze()
	n.guardDies()
	if d := n.dog; !d.running || d.by != nil || d.at != w.now+d.timeout {
		t.Errorf("%+v", d)
	}
	if w.runUntil(w.now + 21*s); n.dog.resets != 1 {
		t.Errorf("%d resets", n.dog.resets)
	}
}

func TestTheModelsDeviceRoundsUp(t *testing.T) {
	w, n := doggedWorld(t)
	n.dog.unit = 4
	got, err := openDog{n.dog, n.guard}.SetTimeout(9)
	if got != 12 || err != nil || n.dog.at != w.now+12*time.Second {
		t.Errorf("%d s, %v, bites in %s", got, err, n.dog.at-w.now)
	}
}
