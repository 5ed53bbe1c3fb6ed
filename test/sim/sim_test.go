package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestAHealthyClusterBootsAndReplacesItsPrimary(t *testing.T) {
	w := newWorld(&pool{}, 1, 3, `{"ttl":5,"loop_wait":2,"retry_timeout":3}`, true)
	defer w.close()
	for _, n := range w.nodes {
		n.power()
	}
	w.clients()
	w.runUntil(20 * time.Second)
	var lead *Node
	for _, n := range w.nodes {
		if n.holds() {
			lead = n
		}
	}
	if lead != nil {
		w.tell(lead, "POWER OFF")
		lead.crash()
	}
	w.runUntil(40 * time.Second)
	if w.violation != "" || lead == nil {
		t.Errorf("%s\n%s", w.violation, w.text)
	}
	lead.power()
	w.runUntil(60 * time.Second)
	if os.Getenv("SHOW") != "" {
		fmt.Print(string(w.text))
	}
	if w.violation != "" || !w.settled() {
		t.Errorf("%s %s\n%s", w.violation, w.unsettled(), w.text)
	}
}

func TestSeeds(t *testing.T) {
	base, seeds := number(t, "SIM_BASE", 1), number(t, "SIM_SEEDS", 200)
	began := time.Now()
	steps := 0
	threads := &pool{}
	defer threads.close()
	var worst time.Duration
	for i := range seeds {
		s := newSchedule(base + i)
		r := s.run(threads, os.Getenv("SHOW") != "")
		steps += r.steps
		worst = max(worst, r.took)
		if os.Getenv("SHOW") != "" {
			fmt.Print(r.text)
		}
		if r.violation != "" {
			fmt.Printf("violation: %s seed %d after %d seeds\n", r.violation, s.seed, i+1)
			if os.Getenv("ALL") == "" {
				t.FailNow()
			}
		}
	}
	t.Logf("%d schedules, %d steps, %s, %.0f/s, worst %s", seeds, steps, time.Since(began), float64(seeds)/time.Since(began).Seconds(), worst)
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}
