package election

import (
	"fmt"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// toPromote is what would have to change for this member to become the primary,
// in the order of the gates that hold it back; none when it is the primary.
func toPromote(o *Observation) []string {
	if leads(o) {
		return nil
	}
	lacks := lacksForAll(o)
	node := &o.Node.Value
	switch {
	case !o.Node.Good():
		lacks = append(lacks, "its server must be seen: "+orUnknown(o.Node.Err))
	case node.Mode == cluster.ModeStopped && node.Data != cluster.DataValid:
		lacks = append(lacks, "it has no usable data and must be cloned first")
	case node.Mode != cluster.ModeStandby && o.Lease.Term == 0:
		lacks = append(lacks, fmt.Sprintf("its server must be a running standby and is %s", node.Mode))
	}
	if o.Lease.Term != 0 {
		return append(lacks, "its server must finish coming up: it holds the lease")
	}
	if o.Self.Tags.NoFailover() {
		lacks = append(lacks, "it is tagged nofailover (or failover_priority 0): take the tag off")
	}
	if why := o.Self.NoWatchdog; why != "" {
		lacks = append(lacks, "its watchdog is required and must work: "+why)
	}
	if sick := Sickness(o); sick != "" {
		lacks = append(lacks, "it is, or was a moment ago, sick: "+sick.String())
	}
	return append(lacks, lacksForTheLease(o)...)
}

// lacksForAll is what holds back whatever this member would do.
func lacksForAll(o *Observation) (lacks []string) {
	v, node := &o.View.Value, &o.Node.Value
	switch {
	case o.Refused:
		lacks = append(lacks, "etcd must be the one this member knows: "+o.View.Err)
	case !o.View.Good():
		lacks = append(lacks, "etcd must answer: "+orUnknown(o.View.Err))
	}
	if !o.Guard.Connected || o.Guard.Frozen {
		lacks = append(lacks, "its guard must answer")
	}
	if o.Wish.Stop {
		lacks = append(lacks, "its agent was told to stop: start it again")
	}
	if o.Settings.Pause {
		lacks = append(lacks, "the cluster is paused: pgkeeper resume")
	}
	if v.Initialize != nil && v.Initialize.SystemID != "" && node.SystemID != "" && v.Initialize.SystemID != node.SystemID {
		lacks = append(lacks, fmt.Sprintf("its data belongs to system %s, the cluster is %s", node.SystemID, v.Initialize.SystemID))
	}
	return lacks
}

// itsAgent is what the agent of a pause's primary has to do, or what is to be done with it
// when it is not there.
func itsAgent(o *Observation, name string) string {
	if _, runs := o.View.Value.Members[name]; runs {
		return "its agent runs, and does after the pause; "
	}
	return "start its agent; "
}

// lacksForTheLease is what holds a standby back from taking the leader key.
func lacksForTheLease(o *Observation) (lacks []string) {
	v := &o.View.Value
	if o.View.At.Never() {
		return nil
	}
	if v.PausedAt != nil && v.PausedAt.Name != o.Self.Name && !forced(o) {
		lacks = append(lacks, fmt.Sprintf("%s was primary during the pause and must say that it is not any more: %sonly if it is dead for certain, pgkeeper failover --candidate %s --force",
			v.PausedAt.Name, itsAgent(o, v.PausedAt.Name), o.Self.Name))
	}
	if pledged(o) {
		lacks = append(lacks, fmt.Sprintf("it has promised the primary, which cannot reach etcd, not to replace it, for %s more", lasting(o.Self.Pledged.Sub(o.Now))))
	}
	if unlisted(o, o.Self.Name) {
		lacks = append(lacks, "it is not in the list of failsafe members, so the last primary may go on without its promise: bring a member back that is")
	}
	if !o.Node.Good() || !o.Node.Value.Mode.Running() {
		return append(lacks, lacksSilence(o)...)
	}
	mine := ownReport(o)
	if why := unfitInWords(o, mine); why != "" && v.Durability.Lax() && !patroniLeft(o) {
		lacks = append(lacks, why)
	}
	lacks = append(lacks, lacksSilence(o)...)
	switch {
	case !Vacant(o):
		return lacks
	case votes(o):
		return append(lacks, lacksVotes(o, mine)...)
	}
	best, missing, coming := field(o, mine)
	switch {
	case o.Lease.Busy != "":
		lacks = append(lacks, "etcd must answer its call for the lease")
	case len(missing) > 0:
		lacks = append(lacks, "no report yet from "+strings.Join(missing, ", "))
	case len(coming) > 0:
		lacks = append(lacks, strings.Join(coming, ", ")+" is starting and may have more")
	case best.name != mine.name:
		lacks = append(lacks, fmt.Sprintf("%s goes first: it is at %s, this member at %s", best.name, best.position, mine.position))
	}
	return lacks
}

// lacksVotes is what an election that must not lose a commit lacks for this member.
func lacksVotes(o *Observation, mine report) (lacks []string) {
	rules, all := electorate(o, mine)
	if byPatroni(o) && !rules[0].IsCopy(o.Self.Name) {
		return []string{"commits may rest on copies that the key sync names, and this member is none of them: bring one of " + strings.Join(rules[0].Copies(), ", ") + " up"}
	}
	if !byPatroni(o) && !promised(o) {
		lacks = append(lacks, "it must promise to take no WAL of the last primary any more")
	}
	for _, rule := range rules {
		if have, absent := counted(rule, all); !enough(o, rule, all) {
			lacks = append(lacks, fmt.Sprintf("%d of the %d copies that commits of %s may rest on must have promised and said how far they are, and %d have: bring up %s",
				rule.Reports(), len(rule.Copies()), rule.Primary, have, strings.Join(absent, ", ")))
		}
	}
	best := mine
	for _, r := range attainable(o, mine, rules, all) {
		if r.better(best) {
			best = r
		}
	}
	if best.name != mine.name {
		lacks = append(lacks, fmt.Sprintf("%s goes first: it is at %s, this member at %s", best.name, best.position, mine.position))
	}
	return lacks
}

// lacksSilence is about the present or the last holder.
func lacksSilence(o *Observation) []string {
	v, until := &o.View.Value, waitUntil(o)
	left := lasting(until.Sub(o.Now))
	switch {
	case v.Leader != nil && v.Leader.Name == o.Self.Name:
		return []string{"the leader key names this member but was not taken for this server: it must expire"}
	case v.Leader != nil && (v.Beat == nil || !ownBeat(v)):
		return []string{fmt.Sprintf("%s holds the lease, and its key must expire in etcd", v.Leader.Name)}
	case v.Leader != nil && o.Now < until:
		return []string{fmt.Sprintf("%s still holds the lease for %s, and longer if it renews: pgkeeper switchover --candidate %s moves it here", v.Leader.Name, left, o.Self.Name)}
	case v.Leader == nil && o.Now < until:
		return []string{fmt.Sprintf("%s still holds the lease for %s", lastHolderName(v), left)}
	}
	return nil
}

func lastHolderName(v *cluster.View) string {
	if v.Holder != nil && v.Holder.Name != "" {
		return v.Holder.Name
	}
	return "the last holder"
}

// unfitInWords says how much this member would lose, where that is more than the
// operator allows; empty when it is not.
func unfitInWords(o *Observation, mine report) string {
	d, bad := unfit(o, mine)
	switch {
	case !bad:
		return ""
	case d.Reason == ReasonTooFarBehind:
		behind, _ := behindPublished(o)
		return fmt.Sprintf("%s behind, limit %s (maximum_lag_on_failover): bring a member that has more, or accept the loss with pgkeeper failover --candidate %s",
			sizeOf(behind), limitInWords(o), o.Self.Name)
	}
	return d.Detail
}

// toFollow is what would have to change for this member to stream from a leader;
// none when it does.
func toFollow(o *Observation) []string {
	if follows(o) {
		return nil
	}
	if o.Lease.Term != 0 {
		return []string{"it holds the lease itself: pgkeeper switchover gives it to another"}
	}
	lacks := lacksForAll(o)
	leader, known := o.View.Value.LeaderMember()
	switch {
	case o.View.At.Never():
	case o.View.Value.Leader == nil || Vacant(o):
		lacks = append(lacks, "somebody must lead, and nobody holds the lease")
	case leader.Name == o.Self.Name || o.View.Value.HolderIs(o.Self.Name):
		lacks = append(lacks, "another member must lead: the leader key names this one")
	case !known:
		lacks = append(lacks, o.View.Value.Leader.Name+" leads but its agent says nothing of itself: is it running?")
	case !leader.RunsPrimary():
		lacks = append(lacks, fmt.Sprintf("%s must be a running primary; it says %s, %s", leader.Name, leader.Role, leader.State))
	}
	return append(lacks, lacksOfServer(o, leader.Name)...)
}

// lacksOfServer is what the local server lacks to stream.
func lacksOfServer(o *Observation, leader string) []string {
	node := &o.Node.Value
	if leader == "" {
		leader = "a leader"
	}
	switch {
	case promisedAway(o):
		return []string{fmt.Sprintf("%s must put its key again, under a new term, which takes a second: this member has promised to take no WAL of term %d", leader, o.View.Value.Leader.Term)}
	case !o.Node.Good():
		return []string{"its server must be seen: " + orUnknown(o.Node.Err)}
	case o.Job.Kind != JobNone:
		return []string{fmt.Sprintf("the job %s must end", o.Job.Kind)}
	case node.Mode == cluster.ModePrimary:
		return []string{"its server accepts writes without the lease and must be stopped first"}
	case node.Data == cluster.DataBroken:
		return []string{"its data directory is no PostgreSQL data directory: empty it or correct data_dir"}
	case node.Mode == cluster.ModeStopped && o.Job.LastErr != "":
		return []string{fmt.Sprintf("its server must start: %s failed: %s", o.Job.Last, o.Job.LastErr)}
	case node.Mode == cluster.ModeStopped && node.Data != cluster.DataValid:
		return []string{"it must be cloned from " + leader}
	case node.Mode != cluster.ModeStandby:
		return []string{"its server must run as a standby and is " + node.Mode.String()}
	}
	return []string{"it must receive WAL from " + leader + ": look at the server's log for pg_hba, credentials, a missing slot, WAL that is gone"}
}
