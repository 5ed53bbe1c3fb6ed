package agent

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// condemn notes that the lease is given up for what ails the server, or, for nothing,
// that it is not after all.
func (l *Loop) condemn(a cluster.Ailment) []Effect {
	o := &l.obs
	o.Lease.Condemned = a
	if a == "" {
		return nil
	}
	o.Self.GaveUp, o.Self.Ailment = o.Now, a
	l.log.Warn("lease given up: the server is sick", "member", l.id.Name, "ailment", string(a), "detail", l.decision.Detail)
	if a != cluster.AilmentTimeline {
		return nil
	}
	return l.stray(true)
}

// stray keeps whether this data came out of recovery on a timeline that is another's: what
// it wrote there, numbers cannot tell from what that one did.
func (l *Loop) stray(on bool) []Effect {
	if l.obs.Self.Strayed == on {
		return nil
	}
	l.obs.Self.Strayed, l.seen.Strayed = on, on
	return l.persist()
}

// noteWritten remembers how far a primary has written: a crash hides it.
func (l *Loop) noteWritten() {
	o := &l.obs
	switch o.Node.Value.Mode {
	case cluster.ModePrimary:
		o.Recovery.End = o.Node.Value.WriteLSN
	case cluster.ModeStandby:
		o.Recovery.End = 0
	}
}

// A recovery tells the rate of replay when it was long enough to be more than a start.
const (
	leastReplayed  = 64 << 20
	leastRecovered = time.Second
)

// measureRecovery learns from a crash recovery that has ended well how fast this machine
// replays WAL. It is written down with what is next persisted: nothing rests on it but a
// prediction.
func (l *Loop) measureRecovery(e JobDone) {
	o, c := &l.obs, l.server.recovers
	took := o.Now.Sub(o.Job.Since)
	if e.Kind != election.JobStart || e.Err != "" || took >= standbyUp && !o.Guard.Writable || c.State.Clean() || !c.Redo.Known() || took < leastRecovered || o.Recovery.End < c.Redo+leastReplayed {
		return
	}
	o.Recovery.Rate = int64(float64(o.Recovery.End-c.Redo) / took.Seconds())
	l.seen.ReplayRate = o.Recovery.Rate
}
