package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestVariants looks for variants of the story SIM_STORY that go wrong: under other
// seeds, with its faults moved a little. It is for a mistake that has been put back
// (see test/sim/mistake), and prints the first, with no more faults than it needs.
func TestVariants(t *testing.T) {
	name := os.Getenv("SIM_STORY")
	if name == "" {
		t.Skip("no SIM_STORY to look for variants of")
	}
	stories := slices.Concat(stories, handStories, watchdogStories)
	at := slices.IndexFunc(stories, func(c story) bool { return c.name == name })
	if at < 0 {
		t.Fatalf("no story %q", name)
	}
	threads := &pool{}
	defer threads.close()
	for i := range number(t, "SIM_SEEDS", 2000) {
		c := stories[at].whole().variant(i + 1)
		if c.goesWrong(threads) {
			fmt.Print(c.fewer(threads))
			return
		}
	}
	fmt.Println("no variant goes wrong")
}

// heals is how long a story goes on at least after its faults: what has no time to heal
// is no sign of a mistake.
const heals = 4 * s

// variant is the same story, a little different.
func (c story) variant(i uint64) story {
	rng := rand.New(rand.NewPCG(c.seed, i))
	c.seed = c.seed*1000 + i
	c.faults = slices.Clone(c.faults)
	for j := range c.faults {
		f := &c.faults[j]
		f.at += time.Duration(rng.Int64N(int64(s))) - s/2
		f.lasts += time.Duration(rng.Int64N(int64(f.lasts/4 + 1)))
		f.lasts = min(f.lasts, max(0, c.until-heals-f.at))
		f.n = max(1, f.n+rng.IntN(9)-4)
	}
	return c
}

// goesWrong: an invariant is violated, or there is no order at the end.
func (c story) goesWrong(threads *pool) bool {
	w := c.world(threads, false)
	defer w.close()
	w.runUntil(c.until)
	return w.violation != "" || w.settled() == c.stuck
}

// fewer is the story without the faults that it goes wrong without.
func (c story) fewer(threads *pool) string {
	for i := range slices.Backward(c.faults) {
		less := c
		less.faults = slices.Delete(slices.Clone(c.faults), i, i+1)
		if less.goesWrong(threads) {
			c = less
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\t{name: %q, seed: %d, nodes: %d, until: %d * s,", c.name, c.seed, c.nodes, c.until/s)
	if c.healed != 0 {
		fmt.Fprintf(&b, " healed: %d * s,", c.healed/s)
	}
	if c.stuck {
		b.WriteString(" stuck: true,")
	}
	fmt.Fprintf(&b, "\n\t\tsettings: `%s`, faults: []fault{", c.settings)
	for i, f := range c.faults {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n\t\t\t{at: %d, lasts: %d, kind: %q, node: %d, to: %d, n: %d", f.at, f.lasts, f.kind, f.node, f.to, f.n)
		if f.exact {
			b.WriteString(", exact: true")
		}
		b.WriteString("}")
	}
	return b.String() + "}},\n"
}
