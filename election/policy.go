package election

import (
	"cmp"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Pauses and patience. None carries safety: each bounds how soon something is
// tried again, or how long a better one is waited for.
const (
	// retryPause is between two tries of one transaction on the leader key.
	retryPause = 50 * time.Millisecond
	// lookPause is between two looks at a server that changes by itself.
	lookPause = 50 * time.Millisecond
	// reportGrace is how long a race waits for members that have not reported.
	reportGrace = 300 * time.Millisecond
	// silence is how long a standby may hear no WAL before it tries the leader's node
	// itself: every knockCalm while anything there answers, and every knockEvery once
	// nothing does. A try ends within KnockLimit.
	silence    = 300 * time.Millisecond
	knockCalm  = 500 * time.Millisecond
	knockEvery = 100 * time.Millisecond
	KnockLimit = 300 * time.Millisecond
	// goneAfter is how long nothing may have answered before the node counts as gone, and
	// goneFresh how long that may be said after the last try.
	goneAfter = 200 * time.Millisecond
	goneFresh = time.Second
	// strayedPatience is how long a race is left to others by a member whose data was
	// written to on a timeline that is another's: then it is what there is.
	strayedPatience = 30 * time.Second
	// startGrace is how long it waits for members whose servers are starting.
	startGrace = 2 * time.Second
	// candidatePatience is how long the best of a race may sleep before the
	// next best goes.
	candidatePatience = time.Second
	// catchUpPatience is how long a copy that has more and may not be promoted may give
	// nothing of it, where it is not needed.
	catchUpPatience = 5 * time.Second
	// namedPatience is how long a failover's named candidate is waited for.
	namedPatience = 5 * time.Second
	// streamPatience is how long a standby may be without a stream before its
	// relation to the leader is looked into.
	streamPatience = 2 * time.Second
	// startingPatience is how long a standby that lets nobody in may go on with an upstream
	// that leads no more, after nobody waits for it any longer.
	startingPatience = 5 * time.Second
	// preparePatience and confirmPatience bound the phases of a switchover.
	preparePatience = 30 * time.Second
	confirmPatience = 5 * time.Second
	// holdPatience is how long poolers may take to let transactions end: longer than they
	// are given by themselves (poolers.pgbouncer.pause_timeout), for those that hang.
	holdPatience = 5 * time.Second
	// successorPatience is how long a primary that handed over lets its successor
	// be promoted before it starts as a standby.
	successorPatience = time.Second
	// maxJobPause bounds the backing off of failing jobs.
	maxJobPause = 10 * time.Second
	// maxUrgentPause bounds that of jobs which safety asks for.
	maxUrgentPause = 2 * time.Second
	// maxPromoteFailures is when a holder gives the lease to somebody else.
	maxPromoteFailures = 3
)

// mayTryJob: the job slot is free and the last failure is long enough ago
// (doubling from 0.25 s to 10 s).
func mayTryJob(o *Observation) bool {
	return o.Job.Kind == JobNone && o.Now >= jobRetryAt(o)
}

func jobRetryAt(o *Observation) cluster.Instant {
	if o.Job.Failures == 0 {
		return 0
	}
	pause := min(250*time.Millisecond<<min(o.Job.Failures-1, 10), maxJobPause)
	return o.Job.LastEnded.Add(pause)
}

// job is a decision to run one job, or to back off after its failures. Failures of
// another kind of work say nothing about this one.
func job(o *Observation, reason cluster.Reason, a Action) Decision {
	other := a != nil && o.Job.Last != JobNone && o.Job.Last != KindOf(a)
	if o.Job.Kind == JobNone && other || mayTryJob(o) {
		return do(reason, a)
	}
	d := wait(ReasonBackingOff, failedBefore(o))
	d.wakeAt(jobRetryAt(o))
	return d
}

// failedBefore says what became of the last job. An initdb whose claim was given up is
// no last job any more, and its error is still what there is to know.
func failedBefore(o *Observation) string {
	return cmp.Or(string(o.Job.Last), string(JobInitDB)) + " failed: " + o.Job.LastErr
}

// KindOf is the kind of job an action is; JobNone for quick ones.
func KindOf(a Action) JobKind {
	switch a.(type) {
	case InitDB:
		return JobInitDB
	case StartServer:
		return JobStart
	case StopServer:
		return JobStop
	case Promote:
		return JobPromote
	case Rejoin:
		return JobRejoin
	case Clone:
		return JobClone
	case Restart:
		return JobRestart
	case MoveAside:
		return JobAside
	}
	return JobNone
}

// upstreamOf is the member as something to stream from; false without address.
func upstreamOf(m cluster.Member) (Upstream, bool) {
	host, port, ok := m.Address()
	return Upstream{Member: m.Name, Host: host, Port: port}, ok
}

// upstream is what this standby should stream from: the member its replicatefrom
// tag names while that one runs, else the leader.
func upstream(o *Observation) (Upstream, bool) {
	v := &o.View.Value
	if m, ok := namedUpstream(v, o.Self.Name, o.Self.Tags); ok && !promisedAway(o) {
		return upstreamOf(m)
	}
	leader, ok := v.LeaderMember()
	if !ok || leader.Name == o.Self.Name || promisedAway(o) {
		return Upstream{}, false
	}
	return upstreamOf(leader)
}

// namedUpstream is the running member that a member's replicatefrom tag names, while that is
// where the leader is and gets WAL itself, unless it is tagged to read it from an archive. A
// timeline is of one term: a primary of an earlier one, cut off and writing on, is not there,
// nor is one that has yet to say that it was promoted; to take WAL from it would be to
// confirm commits of a term that was revoked.
func namedUpstream(v *cluster.View, name string, tags cluster.Tags) (cluster.Member, bool) {
	from, _ := tags["replicatefrom"].(string)
	if from == "" { // as nearly always
		return cluster.Member{}, false
	}
	m, ok := v.Members[from]
	if !ok || from == name || m.State != cluster.StateRunning {
		return cluster.Member{}, false
	}
	leader, led := v.LeaderMember()
	if !led || !leader.RunsPrimary() || m.Timeline != leader.Timeline || m.RunsPrimary() && from != leader.Name { // guard: upstream_where_the_leader_is — SAFETY 3
		return cluster.Member{}, false
	}
	silent := m.ReplicationState != "" && m.ReplicationState != "streaming"
	if silent && !m.RunsPrimary() && !m.Tags.Bool("nostream") { // guard: upstream_streams — L1: it has nothing to give, for as long as that lasts
		return cluster.Member{}, false
	}
	return m, true
}

// conninfoTarget reads host and port from a conninfo as PostgreSQL shows it.
func conninfoTarget(conninfo string) (host, port string) {
	for field := range strings.FieldsSeq(conninfo) {
		key, value, _ := strings.Cut(field, "=")
		value = strings.Trim(value, "'")
		switch key {
		case "host":
			host = value
		case "port":
			port = value
		}
	}
	return host, port
}

// walsenderOf is the streaming walsender that serves a member. Names compare
// without regard to case, as PostgreSQL compares synchronous standby names.
func walsenderOf(n *cluster.NodeState, member string) (cluster.Walsender, bool) {
	for _, w := range n.Walsenders {
		if strings.EqualFold(w.Name, member) && w.State == "streaming" {
			return w, true
		}
	}
	return cluster.Walsender{}, false
}

// UpstreamOf is what this standby should stream from; false while that is not
// known.
func UpstreamOf(o *Observation) (Upstream, bool) { return upstream(o) }

// PointsAt reports whether this standby's server was last seen to be told to stream from
// up, through its slot there; after catchUp it has none.
func PointsAt(o *Observation, up Upstream) bool {
	slotless := o.Node.Value.PrimarySlotName == ""
	return targets(o, up) && !(slotless && o.Settings.PostgreSQL.UseSlots) // guard: slot_with_the_leader — L1: up has one for it that keeps WAL, and only what streams by it lets go of that
}

func targets(o *Observation, up Upstream) bool {
	host, port := conninfoTarget(o.Node.Value.PrimaryConninfo)
	return host == up.Host && port == up.Port
}
