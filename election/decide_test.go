package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func decideRules() []rule {
	renewDue := func(o *Observation) { o.Lease.Renewed, o.Lease.Tried = ago(3*time.Second), ago(3*time.Second) }
	oldLook := func(o *Observation) { o.Node.At = ago(3 * time.Second) }
	return []rule{
		{name: "a quiet primary does nothing and looks again when its renewal is due",
			given: primary(), reason: ReasonLeading, also: wakes(now.Add(1900 * time.Millisecond))},
		{name: "a renewal that is due goes out after a good look",
			given: primary(renewDue), reason: ReasonLeading, do: acts(Renew{})},
		{name: "a renewal that is due waits for a look when the last one is old",
			given: primary(renewDue, oldLook), reason: ReasonLeading, also: looks},
		{name: "a look that took long is as old as its end",
			given: primary(renewDue, oldLook, func(o *Observation) { o.LookTook = 2500 * time.Millisecond }), reason: ReasonLeading, do: acts(Renew{})},
		{name: "an answer that a worker slept over is old",
			given: primary(renewDue, func(o *Observation) { o.Node.At, o.LookTook = ago(time.Hour), time.Hour }), reason: ReasonLeading, also: looks},
		{name: "a holder that cannot see its server does not renew",
			given:  primary(renewDue, func(o *Observation) { o.Node = o.Node.Failed("connection refused", ago(10*time.Millisecond)) }),
			reason: ReasonServerUnknown},
		{name: "a server that was promoted a moment ago is looked at before anything is decided by its walsenders",
			given: primary(renewDue, func(o *Observation) { o.Looking, o.Self.Checkpointed = true, false }), reason: ReasonServerUnknown, do: acts(Renew{})},
		{name: "a holder without its guard does not renew",
			given: primary(renewDue, func(o *Observation) { o.Guard.Connected = false }), reason: ReasonWaitingForGuard},
		{name: "nor while nobody knows what became of its hand-over",
			given: primary(renewDue, func(o *Observation) { o.Lease.Unsettled = true }), reason: ReasonSettling, do: acts(Settle{})},
		{name: "a holder whose guard is frozen does not renew, it fences",
			given: primary(renewDue, func(o *Observation) { o.Guard.Frozen = true }), reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "a primary that its guard takes for a standby is not renewed",
			given: primary(renewDue, func(o *Observation) { o.Guard.Writable = false }), reason: ReasonLeading},
		{name: "it is while its promotion has yet to end here",
			given: primary(renewDue, func(o *Observation) { o.Guard.Writable = false }, running(JobPromote)), reason: reasonOfJob(JobPromote), do: acts(Renew{})},
		{name: "a renewal under way is not doubled",
			given: primary(renewDue, func(o *Observation) { o.Lease.Busy = "renew" }), reason: ReasonLeading},
		{name: "a renewal that failed is tried again after a quarter of the time",
			given:  primary(renewDue, func(o *Observation) { o.Lease.Tried = ago(100 * time.Millisecond) }),
			reason: ReasonLeading, also: wakes(now.Add(400 * time.Millisecond))},
		{name: "renewals go on while a job runs",
			given: primary(renewDue, running(JobRestart)), reason: reasonOfJob(JobRestart), do: acts(Renew{})},
		{name: "a call that gives the lease away is not mixed with a renewal",
			given: cold("a", leased, stop, renewDue), reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, Clean: true})},
		{name: "a call on the leader key that failed is not repeated at once",
			given:  vacant(lsn, reports("c", lsn), func(o *Observation) { o.Lease.FailedAt = ago(10 * time.Millisecond) }),
			reason: ReasonAcquiring, also: wakes(now.Add(40 * time.Millisecond))},
		{name: "a moment after the failure it is repeated",
			given:  vacant(lsn, reports("c", lsn), func(o *Observation) { o.Lease.FailedAt = ago(60 * time.Millisecond) }),
			reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "a renewal is not held back by a failure of another call",
			given:  primary(renewDue, func(o *Observation) { o.Lease.FailedAt = ago(10 * time.Millisecond) }),
			reason: ReasonLeading, do: acts(Renew{})},
		{name: "a standby looks again the moment the holder's beat would be silent for T",
			given: standby(lsn), reason: ReasonFollowing, also: wakes(now.Add(9 * time.Second))},
	}
}

func TestDecide(t *testing.T) { check(t, decideRules()) }

// TestJobsHaveReasons: while a job runs and nothing else speaks first, the reason
// names the job.
func TestJobsHaveReasons(t *testing.T) {
	for _, kind := range jobKinds {
		o := standby(lsn, running(kind))
		if d := Decide(&o); d.Reason != cluster.Reason("running_"+string(kind)) || d.Actions != nil {
			t.Errorf("job %s: %+v", kind, d)
		}
	}
}

var jobKinds = []JobKind{JobInitDB, JobStart, JobStop, JobPromote, JobRejoin, JobClone, JobRestart, JobAside}
