package testbed

import (
	"testing"
	"time"
)

func TestTwoServersOverlapOnlyWhileBothAcceptWrites(t *testing.T) {
	start := time.Now()
	at := func(node string, from, to int) Interval {
		return Interval{Node: node, From: start.Add(time.Duration(from) * time.Millisecond), To: start.Add(time.Duration(to) * time.Millisecond)}
	}
	for name, c := range map[string]struct {
		all  []Interval
		want time.Duration
	}{
		"one after the other":           {[]Interval{at("a", 0, 100), at("b", 101, 200)}, 0},
		"the same node twice":           {[]Interval{at("a", 0, 100), at("a", 50, 200)}, 0},
		"the old one goes on a little":  {[]Interval{at("a", 0, 130), at("b", 100, 200)}, 30 * time.Millisecond},
		"one write within another's":    {[]Interval{at("a", 0, 200), at("b", 100, 100)}, time.Nanosecond},
		"one inside the other":          {[]Interval{at("a", 0, 200), at("b", 50, 60)}, 10 * time.Millisecond},
		"the old one comes back for it": {[]Interval{at("a", 0, 50), at("b", 100, 300), at("a", 250, 260)}, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := overlap(c.all); got != c.want {
				t.Errorf("overlap %v, want %v", got, c.want)
			}
		})
	}
}
