package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// verdict is what one schedule gave.
type verdict struct {
	seed       uint64
	mode       string
	violations []string
	strikes    []strike
	order      order
	losses     []loss
	linear     linear
	settled    time.Duration
	acks       int
	warned     int
	switched   int
	failsafe   int // how often failsafe was entered
	decisions  int
}

// total is what a run gave.
type total struct {
	began     time.Time
	schedules []verdict
}

// write prints the tables of a run.
func (t *total) write(out io.Writer) {
	var acks, decisions, checked, stale, undecided, late, switched, failed int
	var settled time.Duration
	for _, v := range t.schedules {
		acks += v.acks
		decisions += v.decisions
		checked += v.linear.checked
		stale += v.linear.staleReads
		undecided += v.linear.undecided
		late += v.order.late
		switched += v.switched
		settled = max(settled, v.settled)
		if len(v.violations) > 0 {
			failed++
		}
	}
	fmt.Fprintf(out, "\nchaos: %d schedules in %v, %d with a violation\n", len(t.schedules), time.Since(t.began).Round(time.Second), failed)
	fmt.Fprintf(out, "%d writes acknowledged, %d late on their way; %d objects checked (%d undecided), %d stale reads left out; %d switchovers done; %d recorded decisions decided again; whole again after at most %v\n\n",
		acks, late, checked, undecided, stale, switched, decisions, settled.Round(time.Millisecond))
	t.writeModes(out)
	t.writeFaults(out)
	t.writeLosses(out)
	t.writeExcepted(out)
}

// writeModes prints what came of each mode of durability.
func (t *total) writeModes(out io.Writer) {
	type sum struct{ schedules, failed, faults, acks, warned, failsafe, late, excepted, failovers, lost int }
	modes := map[string]*sum{}
	for _, v := range t.schedules {
		s := modes[v.mode]
		if s == nil {
			s = &sum{}
			modes[v.mode] = s
		}
		s.schedules++
		if len(v.violations) > 0 {
			s.failed++
		}
		s.faults += len(v.strikes)
		s.acks += v.acks
		s.warned += v.warned
		s.failsafe += v.failsafe
		s.late += v.order.late
		s.excepted += len(v.order.excepted)
		s.failovers += len(v.losses)
		for _, l := range v.losses {
			s.lost += l.ops
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "mode\tschedules\tviolated\tfaults\tacknowledged\tcancelled waits\tin failsafe\tlate\texcepted\tfailovers that lost\tlost writes")
	for _, m := range slices.Sorted(maps.Keys(modes)) {
		s := modes[m]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", m, s.schedules, s.failed, s.faults, s.acks, s.warned, s.failsafe, s.late, s.excepted, s.failovers, s.lost)
	}
	_ = table.Flush()
	fmt.Fprintln(out)
}

// row names a fault and what it hit.
func (k strike) row() string {
	if k.node == "" {
		return k.fault.name
	}
	return k.fault.name + " (" + k.part + ")"
}

// gaps lists the measured gaps of one schedule, for whoever adds up several runs.
func gaps(strikes []strike) string {
	var all []string
	for _, k := range strikes {
		if !k.disturbed {
			all = append(all, fmt.Sprintf("%s %d ms", k.row(), k.gap.Milliseconds()))
		}
	}
	return strings.Join(all, ", ")
}

// writeFaults prints for each fault how long nobody could write.
func (t *total) writeFaults(out io.Writer) {
	gaps := map[string][]time.Duration{}
	count := map[string]int{}
	for _, v := range t.schedules {
		for _, k := range v.strikes {
			row := k.row()
			count[row]++
			if !k.disturbed {
				gaps[row] = append(gaps[row], k.gap)
			}
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\tn\tmeasured\tmedian gap\tmax gap")
	for _, row := range slices.Sorted(maps.Keys(count)) {
		// The median of an even number is the greater one of the middle.
		all := slices.Sorted(slices.Values(gaps[row]))
		if len(all) == 0 {
			fmt.Fprintf(table, "%s\t%d\t0\t\t\n", row, count[row])
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%v\t%v\n", row, count[row], len(all), all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
	}
	_ = table.Flush()
}

func (t *total) writeLosses(out io.Writer) {
	fmt.Fprintln(out, "\nlost in the asynchronous window, by failover:")
	for _, v := range t.schedules {
		for _, l := range v.losses {
			fmt.Fprintf(out, "  seed %d, timeline %d: %d acknowledged writes within %v, %d bytes behind the fork, which is %d bytes before the last published position\n",
				v.seed, l.tl, l.ops, l.age.Round(time.Millisecond), l.bytes, l.behind)
		}
	}
}

// writeExcepted prints the named exception apart: every agent process of a node
// frozen in asynchronous mode.
func (t *total) writeExcepted(out io.Writer) {
	fmt.Fprintln(out, "\nacknowledged by servers whose agent or node was frozen, after a newer term (the named exception of asynchronous mode):")
	for _, v := range t.schedules {
		var longest time.Duration
		for _, d := range v.order.excepted {
			longest = max(longest, d)
		}
		if len(v.order.excepted) > 0 {
			fmt.Fprintf(out, "  seed %d: %d writes, up to %v after\n", v.seed, len(v.order.excepted), longest.Round(time.Millisecond))
		}
	}
}
