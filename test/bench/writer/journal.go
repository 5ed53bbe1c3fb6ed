package main

import (
	"strings"
	"sync"
	"time"
)

// Report is what a writer saw since a moment. Times are seconds; At counts from that moment.
type Report struct {
	// Gap is the longest time without an acknowledged row that ended, or goes on, after the moment.
	Gap float64 `json:"gap"`
	// GapAt is when the gap began.
	GapAt float64 `json:"gap_at"`
	// Late is the longest time from when a row was due to when it was acknowledged. It is no more than the gap where a
	// row takes less than its interval; where it takes more, as on a machine without a core to spare, a client that
	// writes one row after another owes ever more of them, and that says nothing about any gap.
	Late float64 `json:"late"`
	// Acked rows, and statements that failed on a connection that was there.
	Acked  int `json:"acked"`
	Failed int `json:"failed"`
	// Quiet is the time since the last acknowledgement.
	Quiet float64 `json:"quiet"`
	// Trouble is every error once, in the order of first sight.
	Trouble []Trouble `json:"trouble,omitempty"`
}

// Trouble is one error, how often it came, and when first and last.
type Trouble struct {
	Error string  `json:"error"`
	Count int     `json:"count"`
	First float64 `json:"first"`
	Last  float64 `json:"last"`
}

// ack is one acknowledged row.
type ack struct{ due, sent, at time.Time }

type failure struct {
	at        time.Time
	error     string
	statement bool
}

// journal is what happened, in order. Its times are monotonic.
type journal struct {
	every time.Duration
	mu    sync.Mutex
	acks  []ack
	fails []failure
}

func newJournal(every time.Duration) *journal { return &journal{every: every} }

func (j *journal) acked(a ack) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acks = append(j.acks, a)
}

func (j *journal) failed(err error, statement bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", " ")
	j.fails = append(j.fails, failure{time.Now(), text, statement})
}

// report looks at what happened after the moment; the acknowledgement before it begins the first gap.
func (j *journal) report(since, now time.Time) Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := Report{}
	widen := func(from, to time.Time) {
		if d := to.Sub(from).Seconds(); d > r.Gap {
			r.Gap, r.GapAt = d, from.Sub(since).Seconds()
		}
	}
	last := since
	for i, a := range j.acks {
		if a.at.Before(since) {
			last = a.at
			continue
		}
		if i > 0 {
			last = j.acks[i-1].at
		}
		r.Acked++
		widen(last, a.at)
		r.Late = max(r.Late, a.at.Sub(a.due).Seconds())
		last = a.at
	}
	r.Quiet = now.Sub(last).Seconds()
	widen(last, now)
	j.troubles(&r, since)
	return r
}

func (j *journal) troubles(r *Report, since time.Time) {
	index := map[string]int{}
	for _, f := range j.fails {
		if f.at.Before(since) {
			continue
		}
		if f.statement {
			r.Failed++
		}
		i, known := index[f.error]
		if !known {
			i = len(r.Trouble)
			index[f.error] = i
			r.Trouble = append(r.Trouble, Trouble{Error: f.error, First: f.at.Sub(since).Seconds()})
		}
		r.Trouble[i].Count++
		r.Trouble[i].Last = f.at.Sub(since).Seconds()
	}
}
