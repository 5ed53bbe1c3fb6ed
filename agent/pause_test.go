package agent

import (
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// TestAPauseLiftsNoDeadlineOfAServerThatMayBegin: what a job does to the server is
// known at its end. A pause that came in the middle of a promotion lifted the deadline,
// and a server that was frozen then came out of it as a second primary.
func TestAPauseLiftsNoDeadlineOfAServerThatMayBegin(t *testing.T) {
	for kind, lifts := range map[election.JobKind]bool{
		election.JobNone: true, election.JobClone: true, election.JobRejoin: true,
		election.JobPromote: false, election.JobStart: false, election.JobRestart: false,
	} {
		r := newRig(t)
		r.primary()
		r.loop.obs.Guard.Writable = false // as the loop knows it
		r.loop.obs.Job.Kind = kind
		r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 4}
		told := find[GuardPause](r.see())
		if got := len(told) == 1 && told[0].On; got != lifts {
			t.Errorf("job %q: the guard was told %v, want it told of the pause: %t", kind, told, lifts)
		}
	}
}
