//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// settleLimit is the bound of L1: all faults are mended, and the cluster must be
// whole. It allows for clones on a busy machine.
const settleLimit = 60 * time.Second

// showMost is how many violations of a schedule are shown: one cause makes hundreds.
const showMost = 10

// TestMain runs the tests in namespaces of their own; without root, they skip.
func TestMain(m *testing.M) {
	code, err := 0, error(nil)
	switch stage := lan.At(); {
	case stage == lan.Init:
		code, err = lan.Reap()
	case stage == lan.Inside || os.Geteuid() != 0:
		code = m.Run()
	default:
		code, err = called()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		code = 1
	}
	os.Exit(code)
}

// called builds the program first: inside there is no network to fetch anything.
func called() (int, error) {
	path, err := testbed.Binary(context.Background())
	if err != nil {
		return 1, err
	}
	if err := os.Setenv(testbed.BinaryVariable, path); err != nil {
		return 1, err
	}
	code, err := lan.Call()
	if removed := testbed.RemoveBinary(); err == nil {
		err = removed
	}
	return code, err
}

// number reads a setting of the run from the environment.
func number(t *testing.T, name string, preset uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return preset
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: %v; want a whole number", name, text, err)
	}
	return n
}

var network struct {
	sync.Once
	err error
}

// needNetwork makes the network, once in the life of this program.
func needNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces and file systems of its own: run it as root")
	}
	network.Do(func() { network.err = lan.Make() })
	if network.err != nil {
		t.Fatal(network.err)
	}
}

// TestChaos plays schedules until the time is up: CHAOS_MINUTES, or CHAOS_SCHEDULES
// of them; the first has CHAOS_SEED, each further one the next number. CHAOS_FAULTS
// names the faults to draw from, in place of all, CHAOS_MODES the modes of durability.
// CHAOS_KEEP keeps what a schedule left also when nothing was wrong.
func TestChaos(t *testing.T) {
	needNetwork(t)
	minutes := number(t, "CHAOS_MINUTES", 6)
	count := number(t, "CHAOS_SCHEDULES", 0)
	seed := number(t, "CHAOS_SEED", rand.Uint64N(1_000_000)*1000)
	faults, err := faultsNamed(strings.Fields(os.Getenv("CHAOS_FAULTS")))
	if err != nil {
		t.Fatal(err)
	}
	from, err := modesNamed(strings.Fields(os.Getenv("CHAOS_MODES")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	all := total{began: time.Now()}
	until := all.began.Add(time.Duration(minutes) * time.Minute)
	for i := uint64(0); ctx.Err() == nil && !t.Failed() && (i < count || count == 0 && time.Now().Before(until)); i++ {
		v := playOne(ctx, t, seed+i, faults, from)
		all.schedules = append(all.schedules, v)
	}
	if ctx.Err() != nil {
		t.Error("interrupted")
	}
	var text strings.Builder
	all.write(&text)
	t.Log(text.String())
}

// playOne plays the schedule of one seed on a cluster of its own and judges it.
func playOne(ctx context.Context, t *testing.T, seed uint64, faults []fault, from []mode) verdict {
	s, dice := draw(seed, faults, from)
	fmt.Printf("== schedule of seed %d: %s, ttl %v, maximum_lag_on_failover %d, %d faults\n", seed, s.Settings.name(), s.Settings.TTL, s.Settings.MaxLag, len(s.Events))
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	w, err := newWorld(ctx, s.Settings, dice, say)
	v := verdict{seed: seed, mode: s.Settings.name()}
	if err == nil {
		v, err = playAndJudge(ctx, w, s)
	}
	if err != nil {
		v.violations = append(v.violations, err.Error())
	}
	for i, violation := range v.violations {
		if i == showMost {
			t.Errorf("seed %d: and %d more, in schedule.json", seed, len(v.violations)-showMost)
			break
		}
		t.Errorf("seed %d: %s", seed, violation)
	}
	failed := len(v.violations) > 0 && ctx.Err() == nil
	keep := failed || os.Getenv("CHAOS_KEEP") != ""
	if keep && w.c != nil {
		fmt.Printf("seed %d: logs, histories and recordings are in %s; the same faults again: %s\n", seed, w.c.Dir(), again(seed))
		if err := w.h.save(filepath.Join(w.c.Dir(), "history.jsonl")); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(w.c.Dir(), "schedule.json"), []byte(s.String()+"\n"+strings.Join(v.violations, "\n")+"\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
	if err := w.close(keep); err != nil {
		t.Errorf("seed %d: close the cluster: %v", seed, err)
	}
	return v
}

// again is the command that repeats a schedule: a choice of faults or modes decides what
// the seed draws.
func again(seed uint64) string {
	text := fmt.Sprintf("make chaos SEED=%d SCHEDULES=1", seed)
	for _, name := range []string{"FAULTS", "MODES"} {
		if value := os.Getenv("CHAOS_" + name); value != "" {
			text += fmt.Sprintf(" %s=%q", name, value)
		}
	}
	return text
}

// playAndJudge returns an error for what could not be done, also L1.
func playAndJudge(ctx context.Context, w *world, s schedule) (verdict, error) {
	v := verdict{seed: s.Seed, mode: s.Settings.name()}
	if err := w.play(ctx, s); err != nil {
		return v, err
	}
	w.switching.Wait()
	var err error
	v.settled, err = w.settle(ctx, settleLimit)
	v.strikes = w.measure(w.h.now())
	w.stopClients()
	v.order = judgeOrder(w.h, v.strikes, s.Settings.Mode)
	v.violations = v.order.violations
	if s.Settings.Failsafe {
		v.violations = append(v.violations, judgeFailsafe(w.h, v.strikes)...)
		v.failsafe = w.entries()
	}
	v.acks, v.warned, v.switched = len(w.h.acks()), w.h.warned(), w.switched
	if err != nil {
		return v, err
	}
	final, err := w.c.Healthy(ctx, settleLimit)
	if err != nil {
		return v, err
	}
	eras, err := survivors(ctx, final, w.h)
	if err != nil {
		return v, err
	}
	kept, err := readRecords(ctx, w.c)
	if err != nil {
		return v, err
	}
	j := lossJudge{mode: s.Settings.Mode, loses: s.Settings.loses(), h: w.h, eras: eras, records: kept, maxLag: s.Settings.MaxLag, excepted: v.order.excepted}
	v.losses = j.judge()
	v.linear = judgeObjects(w.h, v.order.excepted)
	for _, n := range w.c.Nodes {
		if found := grave(n.Name, n.StateDir()); found != "" {
			v.violations = append(v.violations, found)
		}
		count, err := replay(ctx, w.c, n)
		v.decisions += count
		if err != nil {
			v.violations = append(v.violations, n.Name+": "+err.Error())
		}
	}
	v.violations = slices.Concat(v.violations, j.violations, v.linear.violations)
	w.say("%8v  gaps: %s", w.h.now().Round(time.Millisecond), gaps(v.strikes))
	w.say("%8v  %d writes acknowledged, %d late, %d excepted, lost %+v, failsafe entered %d times, whole after %v; timelines: %s", w.h.now().Round(time.Millisecond), v.acks, v.order.late, len(v.order.excepted), v.losses, v.failsafe, v.settled.Round(time.Millisecond), j.forks())
	return v, nil
}
