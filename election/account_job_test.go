package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAnExplanationTellsHowFarAJobIs(t *testing.T) {
	o := &Observation{Now: cluster.Instant(70 * time.Second), Job: Job{Kind: JobClone, Since: cluster.Instant(20 * time.Second), Progress: "cloning from pg1, 430 of 1000 MB (43%), 12 s left"}}
	if got, want := jobInWords(o), "clone, for 50.0 s: cloning from pg1, 430 of 1000 MB (43%), 12 s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	o.Job.Progress = ""
	if got, want := jobInWords(o), "clone, for 50.0 s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
