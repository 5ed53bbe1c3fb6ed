package agent

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAProgressTellsHowLongACopyWillStillTake(t *testing.T) {
	const mebi = 1 << 20
	now := 100 * second
	c := &copyProgress{doing: "cloning from pg1", now: func() cluster.Instant { return now }}
	for _, step := range []struct {
		after time.Duration
		done  int64
		want  string
	}{
		{0, 0, "cloning from pg1, 0 of 1000 MB (0%)"},
		{500 * time.Millisecond, 20, "cloning from pg1, 20 of 1000 MB (2%)"}, // too early to tell
		{9500 * time.Millisecond, 430, "cloning from pg1, 430 of 1000 MB (43%), 13 s left"},
		{10 * time.Second, 500, "cloning from pg1, 500 of 1000 MB (50%), 20 s left"},
		// It has slowed down since, and what it did at first does not count any more.
		{20 * time.Second, 510, "cloning from pg1, 510 of 1000 MB (51%), 16 min left"},
		{20 * time.Second, 510, "cloning from pg1, 510 of 1000 MB (51%)"}, // it stands still
		{time.Second, 1000, "cloning from pg1, 1000 of 1000 MB (100%), finishing"},
		{time.Second, 1200, "cloning from pg1, 1200 of 1000 MB (100%), finishing"}, // the estimate was too low
	} {
		now = now.Add(step.after)
		if got := c.say(step.done*mebi, 1000*mebi); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
	if got := c.say(5*mebi, 0); got != "cloning from pg1, 5 MB" {
		t.Errorf("without an estimate: %q", got)
	}
}

func TestAnEstimateIsToldRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1 s", 99 * time.Second: "99 s", 100 * time.Second: "2 min", 99 * time.Minute: "99 min", 100 * time.Minute: "1 h 40 min", longestLeft: "99 h 0 min",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
