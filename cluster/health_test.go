package cluster_test

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// said is one try: when it began and ended, in seconds, and whether it failed.
type said struct {
	began, at float64
	fails     bool
}

func instant(seconds float64) cluster.Instant { return cluster.Instant(seconds * float64(time.Second)) }

func TestOnlyWhatFailsForLongAndWithoutASuccessIsAnAilment(t *testing.T) {
	for name, c := range map[string]struct {
		said []said
		now  float64
		ails bool
	}{
		"nothing was said":                           {nil, 10, false},
		"it fails for the whole time":                {[]said{{1, 3, true}, {2, 4, true}, {4, 6, true}}, 6, true},
		"it fails for less":                          {[]said{{1, 3, true}, {2, 4, true}, {3.9, 5.9, true}}, 5.9, false},
		"one slow answer":                            {[]said{{1, 6.5, true}}, 6.5, false},
		"a success between":                          {[]said{{1, 3, true}, {3, 3.1, false}, {4, 6, true}, {5, 7, true}}, 7, false},
		"a success of a try that is older":           {[]said{{1, 1.1, false}, {1.05, 3, true}, {2, 4, true}, {3, 6.9, true}}, 6.9, false},
		"failures that began before a success":       {[]said{{3, 3.1, false}, {1, 3.2, true}, {2, 4, true}, {2.5, 8.5, true}}, 8.5, false},
		"an old word, heard late by one who slept":   {[]said{{1, 3, true}, {2, 6, true}}, 11.5, false},
		"a word of a moment ago":                     {[]said{{1, 3, true}, {2, 6, true}}, 10.9, true},
		"what comes out of order does not turn back": {[]said{{1, 3, true}, {2, 6, true}, {4, 5, false}}, 6, true},
	} {
		t.Run(name, func(t *testing.T) {
			var check cluster.Check
			for _, s := range c.said {
				a := cluster.Ailment("")
				if s.fails {
					a = cluster.AilmentHung
				}
				check.Note(instant(s.began), instant(s.at), a, "")
			}
			if ails := check.Ailing(instant(c.now), 5*time.Second) != ""; ails != c.ails {
				t.Errorf("ails: %t, want %t: %+v", ails, c.ails, check)
			}
		})
	}
}

func TestEveryAilmentHasWords(t *testing.T) {
	for _, a := range []cluster.Ailment{cluster.AilmentHung, cluster.AilmentStalled, cluster.AilmentFull, cluster.AilmentReadOnly,
		cluster.AilmentBroken, cluster.AilmentGone, cluster.AilmentStart, cluster.AilmentTimeline} {
		if a.String() == string(a) {
			t.Errorf("%q is not told in words", string(a))
		}
	}
	if newer := cluster.Ailment("of_a_newer_version"); newer.String() != "of_a_newer_version" || !newer.MayServe() {
		t.Errorf("an ailment of a newer version: %q, %t", newer, newer.MayServe())
	}
	if h := (&cluster.Health{}); h.Of("of_a_newer_version") != nil || h.Of(cluster.CheckWAL) != &h.WAL {
		t.Error("the checks are not told apart by their names")
	}
}
