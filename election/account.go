package election

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Account explains a decision to people at the moment now: what it rests on, what
// was decided, and what would have to change for this member to be promoted or to
// follow. It decides nothing; since is when the reason began.
func Account(o *Observation, d Decision, since, now cluster.Instant) cluster.Explanation {
	age := now.Sub(o.Now)
	o.Now = max(o.Now, now) // waits are told as they are now
	e := explanations[d.Reason]
	if e.why == "" {
		e = explanation{Explain(d.Reason), ""}
	}
	out := cluster.Explanation{
		Member: o.Self.Name, Reason: d.Reason, Detail: d.Detail, Why: e.why, Next: e.next,
		SinceMS: now.Sub(since).Milliseconds(), AgeMS: max(0, age.Milliseconds()),
		Observed: facts(o), ToPromote: toPromote(o), ToFollow: toFollow(o),
	}
	for _, a := range d.Actions {
		out.Decided = append(out.Decided, strings.TrimPrefix(fmt.Sprintf("%T", a), "election."))
	}
	out.Verdict = verdict(o, d, out)
	return out
}

// verdict is the explanation in one line.
func verdict(o *Observation, d Decision, e cluster.Explanation) string {
	switch node := o.Node.Value; {
	case leads(o):
		return fmt.Sprintf("primary: it holds the lease under term %d and its server accepts writes", o.Lease.Term) + unlessStore(o)
	case o.Lease.Term != 0:
		return fmt.Sprintf("holds the lease under term %d, but its server is %s: %s", o.Lease.Term, node.Mode, lower(e.Why))
	case follows(o):
		return followsInWords(o) + unlessStore(o)
	}
	if silent := silentHolder(o); silent != "" {
		return silent
	}
	switch d.Reason {
	case ReasonTooFarBehind, ReasonOldTimeline, ReasonNoFailover, ReasonNotHealthy, ReasonNotListed, ReasonNotListedSync:
		if len(e.ToPromote) > 0 {
			return "not a candidate: " + e.ToPromote[0]
		}
	case ReasonWaitingForLease, ReasonCollecting, ReasonBetterCandidate, ReasonNamedCandidate, ReasonPausedElsewhere, ReasonTooFewReports, ReasonPledged:
		if len(e.ToPromote) > 0 {
			return "waiting: " + e.ToPromote[0]
		}
	case ReasonAcquiring:
		if o.Lease.Busy != "" {
			return fmt.Sprintf("waiting: it is its turn, and etcd must answer its call for the lease; etcd was last seen %s ago", lasting(o.Now.Sub(o.View.At)))
		}
	}
	return inWords(e.Why, cmp.Or(d.Detail, o.Job.Progress))
}

// unlessStore warns of a store that cannot be relied on.
func unlessStore(o *Observation) string {
	switch late := o.Now.Sub(o.Lease.Renewed); {
	case FailsafeActive(o):
		return "; etcd does not answer, and it goes on by the promises of the members, for " + lasting(o.Lease.AgreedUntil.Sub(o.Now)) + " and longer while they renew them"
	case o.View.Good() && o.Lease.Term != 0 && !o.Guard.Paused && late > 2*o.Settings.RenewEvery() && o.Guard.Deadline > o.Now:
		return "; but it could not renew the lease for " + lasting(late) + ", and without that the server is stopped in " + lasting(o.Guard.Deadline.Sub(o.Now))
	case o.View.Good():
		return ""
	case o.Lease.Term != 0 && o.Guard.Writable && !o.Guard.Paused && o.Guard.Deadline > o.Now:
		return "; but etcd does not answer, and without it the server is stopped in " + lasting(o.Guard.Deadline.Sub(o.Now)) + ": " + orUnknown(o.View.Err)
	}
	return "; but etcd does not answer, and without it nobody elects: " + orUnknown(o.View.Err)
}

// silentHolder: a standby whose stream has ended with its primary. What it waits
// for is the end of the lease.
func silentHolder(o *Observation) string {
	v, until := &o.View.Value, waitUntil(o)
	quiet := o.Now.Sub(o.Beat.At)
	if v.Leader == nil || v.Leader.Name == o.Self.Name || v.Beat == nil || !ownBeat(v) || o.Beat.Revision != v.Beat.ModRevision || !o.View.Good() ||
		o.Node.Value.Mode != cluster.ModeStandby || quiet < 2*o.Settings.RenewEvery() || o.Now >= until {
		return ""
	}
	return fmt.Sprintf("waiting: %s still holds the lease for %s, and has not renewed it for %s", v.Leader.Name, lasting(until.Sub(o.Now)), lasting(quiet))
}

// inWords is a sentence with the figures of the moment behind it.
func inWords(why, detail string) string {
	const longest = 160
	detail = strings.Join(strings.Fields(detail), " ")
	if detail == "" {
		return lower(why)
	}
	if len(detail) > longest {
		detail = strings.ToValidUTF8(detail[:longest], "") + "..."
	}
	return lower(strings.TrimSuffix(why, ".")) + " (" + detail + ")"
}

func lower(sentence string) string {
	if sentence == "" || strings.HasPrefix(sentence, "PostgreSQL") {
		return sentence
	}
	return strings.ToLower(sentence[:1]) + strings.TrimSuffix(sentence[1:], ".")
}

func leads(o *Observation) bool {
	return o.Lease.Term != 0 && o.Node.Good() && o.Node.Value.Mode == cluster.ModePrimary
}

// follows: a standby that streams while somebody else leads.
func follows(o *Observation) bool {
	r := o.Node.Value.Receiver
	leader := o.View.Value.Leader
	return o.Node.Good() && o.Node.Value.Mode == cluster.ModeStandby && r != nil && r.Status == "streaming" &&
		leader != nil && leader.Name != o.Self.Name && !staleLeader(o)
}

func followsInWords(o *Observation) string {
	text := "standby: it streams from " + o.View.Value.Leader.Name
	if up, ok := upstream(o); ok {
		text = "standby: it streams from " + up.Member
	}
	if behind, known := behindPublished(o); known {
		text += ", " + sizeOf(behind) + " behind the last published position"
	}
	return text
}

func behindPublished(o *Observation) (bytes uint64, known bool) {
	published := o.View.Value.Status
	if published == nil || !published.Optime.Known() {
		return 0, false
	}
	return shared(o, ownReport(o)).Behind(published.Optime), true
}

// facts is what was observed, in words.
func facts(o *Observation) []cluster.Fact {
	list := []cluster.Fact{{What: "etcd", Value: storeInWords(o)}, {What: "lease", Value: leaseInWords(o)}, {What: "server", Value: serverInWords(o)}}
	if behind, known := behindPublished(o); known && !leads(o) {
		list = append(list, cluster.Fact{What: "behind", Value: sizeOf(behind) + " behind the last published position, limit " + limitInWords(o)})
	}
	if health := healthInWords(o); health != "" {
		list = append(list, cluster.Fact{What: "health", Value: health})
	}
	list = append(list, cluster.Fact{What: "guard", Value: guardInWords(o)})
	if job := jobInWords(o); job != "" {
		list = append(list, cluster.Fact{What: "job", Value: job})
	}
	if o.Settings.Pause {
		list = append(list, cluster.Fact{What: "cluster", Value: "paused"})
	}
	if sw := o.View.Value.Switchover; sw != nil {
		list = append(list, cluster.Fact{What: "switchover", Value: strings.TrimSuffix(fmt.Sprintf("%s to %s, %s: %s", sw.From, sw.To, sw.Phase, sw.Why), ": ")})
	}
	return list
}

func storeInWords(o *Observation) string {
	switch {
	case o.View.Good():
		return fmt.Sprintf("seen %s ago at revision %d", lasting(o.Now.Sub(o.View.At)), o.View.Value.Revision)
	case o.View.At.Never():
		return "never seen since the agent started: " + orUnknown(o.View.Err)
	}
	return fmt.Sprintf("cannot be relied on (%s); what it said last was seen %s ago", orUnknown(o.View.Err), lasting(o.Now.Sub(o.View.At)))
}

func leaseInWords(o *Observation) string {
	v := &o.View.Value
	switch {
	case FailsafeActive(o):
		return fmt.Sprintf("held by this member under term %d, by the promises of the members since etcd was last written %s ago, good for %s more",
			o.Lease.Term, lasting(o.Now.Sub(o.Lease.Renewed)), lasting(o.Lease.AgreedUntil.Sub(o.Now)))
	case o.Lease.Term != 0:
		until := o.Lease.Renewed.Add(o.Settings.TTL)
		return fmt.Sprintf("held by this member under term %d, renewed %s ago, good for %s more", o.Lease.Term, lasting(o.Now.Sub(o.Lease.Renewed)), lasting(until.Sub(o.Now)))
	case o.View.At.Never():
		return "not known: etcd was not seen"
	case v.Leader == nil && o.Vacancy.Never():
		return "nobody holds it"
	case v.Leader == nil:
		return "nobody holds it, for " + lasting(o.Now.Sub(o.Vacancy))
	}
	text := fmt.Sprintf("held by %s under term %d", v.Leader.Name, v.Leader.Term)
	if v.Beat != nil && !o.Beat.At.Never() {
		text += ", its last beat was seen " + lasting(o.Now.Sub(o.Beat.At)) + " ago"
	}
	return text
}

func serverInWords(o *Observation) string {
	node := &o.Node.Value
	if !o.Node.Good() {
		if o.Node.At.Never() {
			return "not seen yet: " + orUnknown(o.Node.Err)
		}
		return fmt.Sprintf("could not be looked at (%s); %s before was %s", orUnknown(o.Node.Err), lasting(o.Now.Sub(o.Node.At)), node.Mode)
	}
	if node.Mode == cluster.ModeStopped && node.Data != cluster.DataValid {
		return fmt.Sprintf("stopped; its data directory is %s", map[cluster.DataDir]string{cluster.DataEmpty: "empty", cluster.DataBroken: "no PostgreSQL data directory",
			cluster.DataTombstone: "half made by work that was interrupted", cluster.DataDamaged: "damaged by work that was interrupted", cluster.DataUnknown: "not readable"}[node.Data])
	}
	at := node.Position()
	text := fmt.Sprintf("%s on timeline %d at %s", node.Mode, at.Timeline, at.LSN)
	if node.Mode != cluster.ModeStandby {
		return text
	}
	if node.ReplayLSN != at.LSN {
		text += ", replayed " + node.ReplayLSN.String()
	}
	switch r := node.Receiver; {
	case r != nil && r.Host != "":
		return text + ", " + r.Status + " from " + r.Host + ":" + r.Port
	case r != nil:
		return text + ", " + r.Status
	case !o.NotStreaming.Never():
		return text + ", nothing received for " + lasting(o.Now.Sub(o.NotStreaming))
	}
	return text + ", nothing is received"
}

// healthInWords is what the probes say, where that is not that all is well.
func healthInWords(o *Observation) string {
	var said []string
	for _, c := range o.Health.Each() {
		if c.Ailment != "" && o.Now.Sub(c.At) <= o.Settings.ProbeTimeout {
			said = append(said, fmt.Sprintf("%s for %s: %s", c.Ailment, lasting(o.Now.Sub(c.Since)), c.Detail))
		}
	}
	_, ails := ailing(o, o.Settings.ProbeTimeout)
	switch to, found := heir(o); {
	case ails == "" || o.Lease.Term == 0:
	case found:
		said = append(said, to+" could take over")
	default:
		said = append(said, "no other member could take over now")
	}
	if len(said) == 0 && Sickness(o) != "" {
		return fmt.Sprintf("gave its lease up %s ago: %s", lasting(o.Now.Sub(o.Self.GaveUp)), o.Self.Ailment)
	}
	return strings.Join(said, "; ")
}

func guardInWords(o *Observation) string {
	g := o.Guard
	switch {
	case !g.Connected:
		return "no session with it"
	case g.Frozen:
		return "it does not answer"
	case !g.Running:
		return "answers; it has no server"
	}
	text := "answers; it has the server"
	switch {
	case g.Paused:
		text += ", and enforces no deadline (paused)"
	case g.Writable && g.Deadline > o.Now:
		text += ", and stops it in " + lasting(g.Deadline.Sub(o.Now)) + " unless the lease is renewed"
	case g.Writable && !g.Deadline.Never():
		text += ", and its deadline has passed"
	}
	return text
}

func jobInWords(o *Observation) string {
	j := o.Job
	switch {
	case j.Kind != JobNone:
		return strings.TrimSuffix(fmt.Sprintf("%s, for %s: %s", j.Kind, lasting(o.Now.Sub(j.Since)), j.Progress), ": ")
	case j.LastErr != "":
		return fmt.Sprintf("%s failed %s ago (%d in a row): %s", j.Last, lasting(o.Now.Sub(j.LastEnded)), j.Failures, j.LastErr)
	}
	return ""
}

func limitInWords(o *Observation) string {
	if limit := o.Settings.MaximumLagOnFailover; limit >= 0 {
		return sizeOf(uint64(limit))
	}
	return "none"
}

// lasting is a time as people say it: 2.1 s, 3m5s.
func lasting(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// sizeOf is a number of bytes as people say it: 48 MB, in powers of 1024.
func sizeOf(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n)/unit, []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for value >= unit && len(names) > 1 {
		value, names = value/unit, names[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + names[0]
}

func orUnknown(why string) string {
	if why == "" {
		return "no answer yet"
	}
	return why
}
