package recorder

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

func TestAnExplanationHasNoSecretsAndAnEnd(t *testing.T) {
	r := New(Options{Head: Head{Scope: "s", Member: "a"}})
	if e := r.Explain(5); e != nil {
		t.Errorf("before the first step: %+v", e)
	}
	o := observation(rand.New(rand.NewPCG(1, 2)))
	o.Self.Name = "a"
	o.View = o.View.Failed("dial http://root:hunter2@h:2379 failed "+strings.Repeat("ü", 2000), o.Now)
	o.Node = o.Node.Failed("password=hunter2 refused", o.Now)
	o.Job = election.Job{Last: election.JobClone, LastErr: "host=h password='hunter2 x'", LastEnded: o.Now}
	r.Record(decided(o))
	e := r.Explain(o.Now.Add(time.Second))
	raw, err := json.Marshal(e)
	if err != nil || strings.Contains(string(raw), "hunter2") || len(raw) > 10_000 {
		t.Errorf("%v: %d bytes: %s", err, len(raw), raw)
	}
	if e.Scope != "s" || e.Member != "a" || e.AgeMS != 1000 || e.Verdict == "" {
		t.Errorf("%s", raw)
	}
}

// TestAnAgentThatIsDownIsExplainedFromItsRecording as it was at its last step.
func TestAnAgentThatIsDownIsExplainedFromItsRecording(t *testing.T) {
	dir := t.TempDir()
	o := observation(rand.New(rand.NewPCG(3, 2)))
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var steps []Step
	for i := range 3 {
		o.Now = o.Now.Add(time.Second)
		s := decided(o)
		s.Wall, s.Decision.Reason, s.Decision.Detail = began.Add(time.Duration(i)*time.Second), election.ReasonTooFarBehind, "as it was"
		steps = append(steps, s)
	}
	runThrough(t, recorderAt(dir), steps...)
	e, err := ExplainLast(dir, began.Add(time.Minute))
	if err != nil || e.Reason != election.ReasonTooFarBehind || e.Detail != "as it was" || e.SinceMS != 2000 || e.AgeMS != 58_000 || !strings.HasPrefix(e.Verdict, "its agent is down; at its last step, 58s ago: ") || !strings.Contains(e.Source, "2026-01-01T12:00:02Z") {
		t.Errorf("%v: %+v", err, e)
	}
	if _, err := ExplainLast(t.TempDir(), began); err == nil {
		t.Error("there is nothing to explain")
	}
}

// TestTheStoryIsShort: one line each time something else was decided.
func TestTheStoryIsShort(t *testing.T) {
	o := election.Observation{Now: 5, Self: election.Self{Name: "a"}}
	o.Node.Value.Mode = cluster.ModeStandby
	step := func(at time.Duration, reason cluster.Reason, actions ...election.Action) Step {
		o.Now = o.Now.Add(100 * time.Millisecond)
		return Step{Wall: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(at), Observation: o, Decision: election.Decision{Reason: reason, Actions: actions}}
	}
	raw := record(t, step(0, "following"), step(1, "following"), step(2, "following"),
		step(3, "acquiring_lease", election.Acquire{BeatRevision: 7}), step(4, "promoting", election.Promote{Timeline: 2}))
	var b strings.Builder
	if err := Story(&b, Read(strings.NewReader(string(raw)))); err != nil {
		t.Fatal(err)
	}
	want := `2026-01-01 12:00:00.000  a        standby  following
                         ... the same 2 times more in 300ms
2026-01-01 12:00:00.300  a        standby  acquiring_lease -> Acquire(BeatRevision 7)
2026-01-01 12:00:00.400  a        standby  promoting -> Promote(Timeline 2)
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}
