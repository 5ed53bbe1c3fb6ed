package main

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var start = time.Unix(1000, 0)

func ms(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }

// acks of a writer whose rows were due every 5 ms from 0 on.
func acksAt(times ...int) []ack {
	var all []ack
	for i, at := range times {
		all = append(all, ack{due: ms(5 * i), sent: ms(5 * i), at: ms(at)})
	}
	return all
}

var about = cmpopts.EquateApprox(0, 1e-9)

func TestTheGapIsTheLongestTimeWithoutAnAcknowledgement(t *testing.T) {
	for _, c := range []struct {
		name       string
		acks       []ack
		since, now int
		gap, at    float64
		late       float64
	}{
		{"it begins at the acknowledgement before the fault", acksAt(1, 6, 306, 307), 8, 308, 0.300, -0.002, 0.296},
		{"what ended before the fault does not count", acksAt(1, 301, 302, 307), 302, 308, 0.005, 0.000, 0.292},
		{"it goes on while nothing is acknowledged", acksAt(1, 6), 8, 1006, 1.0, -0.002, 0},
		{"rows that are owed make no gap", acksAt(1, 200, 400), 2, 401, 0.200, 0.198, 0.390},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newJournal(5 * time.Millisecond)
			j.acks = c.acks
			r := j.report(ms(c.since), ms(c.now))
			if diff := cmp.Diff([]float64{c.gap, c.at, c.late}, []float64{r.Gap, r.GapAt, r.Late}, about); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFailuresAreCountedOnceByText(t *testing.T) {
	j := newJournal(5 * time.Millisecond)
	j.fails = []failure{{ms(1), "old", true}, {ms(11), "refused", false}, {ms(12), "reset", true}, {ms(20), "refused", false}}
	r := j.report(ms(10), ms(30))
	want := []Trouble{{"refused", 2, 0.001, 0.010}, {"reset", 1, 0.002, 0.002}}
	if diff := cmp.Diff(want, r.Trouble, about); diff != "" {
		t.Error(diff)
	}
	if r.Failed != 1 {
		t.Errorf("%d failed statements, want 1: a refused connection is none", r.Failed)
	}
	j.failed(errors.New("two\nlines"), false)
	if got := j.fails[len(j.fails)-1].error; got != "two lines" {
		t.Errorf("an error of several lines became %q", got)
	}
}

func TestOverlapIsTheTimeInWhichTwoServersAcknowledged(t *testing.T) {
	every5 := func(from, to int) []ack {
		var all []ack
		for at := from; at <= to; at += 5 {
			all = append(all, ack{at: ms(at)})
		}
		return all
	}
	for _, c := range []struct {
		name string
		a, b []ack
		want float64
	}{
		{"none when one follows the other", every5(0, 1000), every5(1005, 2000), 0},
		{"none when the first comes back later", append(every5(0, 1000), every5(3000, 4000)...), every5(1005, 2995), 0},
		{"what both acknowledged", every5(0, 1000), every5(900, 2000), 0.1},
		{"a stutter does not hide it", append(every5(0, 1000), every5(1400, 2000)...), every5(1100, 1300), 0.2},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := overlap(map[string][]Span{"a": spans(c.a, start), "b": spans(c.b, start)})
			if math.Abs(got-c.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheMachinesWorstStallSinceAMomentIsReported(t *testing.T) {
	m, err := newMachine(t.TempDir(), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer m.file.Close()
	m.note(stalled{at: ms(1), fsync: time.Second})
	m.note(stalled{at: ms(11), fsync: 200 * time.Millisecond})
	m.note(stalled{at: ms(12), late: 30 * time.Millisecond})
	m.note(stalled{at: ms(13), fsync: time.Millisecond, late: time.Millisecond})
	if diff := cmp.Diff(Stall{Fsync: 0.2, Late: 0.03}, m.report(ms(10))); diff != "" {
		t.Error(diff)
	}
}
