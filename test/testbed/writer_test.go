package testbed

import (
	"testing"
	"time"
)

func TestTheGapIsTheLongestSilenceThatEndsAfterTheFault(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	ended := make(chan struct{})
	close(ended)
	for name, c := range map[string]struct {
		acks []int
		from int
		want time.Duration
	}{
		"a quiet run":                           {[]int{5, 10, 15, 20}, 0, 5 * time.Millisecond},
		"a silence before the fault is none":    {[]int{5, 900, 905, 910}, 902, 5 * time.Millisecond},
		"one that began before and ended after": {[]int{5, 10, 700}, 12, 690 * time.Millisecond},
		"the longest of two":                    {[]int{5, 100, 400, 405}, 50, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Writer{began: began, done: ended}
			for _, ms := range c.acks {
				w.acks = append(w.acks, at(ms))
			}
			if got, _ := w.Gap(at(c.from)); got != c.want {
				t.Errorf("gap %v, want %v", got, c.want)
			}
		})
	}
}

func TestASilenceThatGoesOnCounts(t *testing.T) {
	w := &Writer{began: time.Now().Add(-time.Minute), done: make(chan struct{})}
	w.acks = []time.Time{time.Now().Add(-10 * time.Second)}
	if got, _ := w.Gap(time.Now().Add(-9 * time.Second)); got < 10*time.Second {
		t.Errorf("gap %v, want the ten seconds since the last acknowledgement", got)
	}
}
