package agent

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// cloneFrom is the running standby with the tag clonefrom that a clone is copied
// from, so that the primary is spared; nil when there is none. The history is
// proved by the leader all the same. Who of several it is differs by member, so
// that two do not take the same, and by try.
func (l *Loop) cloneFrom() *election.Upstream {
	v := &l.obs.View.Value
	if election.Counts(v, l.id.Name) { // guard: copy_that_counts_from_the_primary — S2: a standby may lack what this member has confirmed
		return nil
	}
	leader, _ := v.LeaderMember()
	var lent []cluster.Member
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; name != l.id.Name && name != leader.Name && lends(m, leader) {
			lent = append(lent, m)
		}
	}
	if len(lent) == 0 {
		return nil
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(l.id.Name)) // never fails
	m := lent[(int(sum.Sum32()%1024)+l.obs.Job.Failures)%len(lent)]
	host, port, _ := m.Address()
	return &election.Upstream{Member: m.Name, Host: host, Port: port}
}

// lends: a member that can be copied now, as far as its key tells.
func lends(m, leader cluster.Member) bool {
	_, _, known := m.Address()
	return known && m.Tags.Bool("clonefrom") && m.State == cluster.StateRunning && m.Role == cluster.RoleReplica &&
		(m.ReplicationState == "" || m.ReplicationState == "streaming") && m.Timeline == leader.Timeline
}

// copySource is where the bulk of a clone comes from: the standby that was chosen,
// when it is found to stand on the history that the leader proved, else the leader.
// member names it.
func (n *Node) copySource(ctx context.Context, do OnJob, up election.Upstream, primary postgres.Source) (source postgres.Source, member string) {
	if do.CloneFrom == nil {
		return primary, up.Member
	}
	lent := *do.CloneFrom
	source = postgres.Source{Host: lent.Host, Port: lent.Port, SlotName: primary.SlotName, Keeper: &primary}
	why := n.notStanding(ctx, source, primary)
	if why != "" {
		n.log.Info("not cloned from the standby tagged clonefrom", "member", lent.Member, "error", why)
		return primary, up.Member
	}
	return source, lent.Member
}

// lagPatience is how long a standby that is to be copied may take to have what its primary
// had when the copy was asked for; looked at every lagPause.
const (
	lagPatience = 5 * time.Second
	lagPause    = 100 * time.Millisecond
)

// notStanding asks the primary, then the standby until that one has as much: this member's
// own server has stopped, and confirmed nothing beyond it. Then it asks the primary again,
// which only ever gets further.
func (n *Node) notStanding(ctx context.Context, standby, primary postgres.Source) (why string) {
	ctx, cancel := n.clock.WithTimeout(ctx, askLimit)
	defer cancel()
	had, err := n.pg.SourceInfo(ctx, primary)
	if err != nil {
		return err.Error()
	}
	lent, err := n.pg.SourceInfo(ctx, standby)
	for until := n.clock.Now().Add(lagPatience); err == nil; lent, err = n.pg.SourceInfo(ctx, standby) {
		if lent.LSN >= had.LSN { // guard: copied_standby_has_all — S2: what this member has confirmed is in its copy
			break
		}
		if n.clock.Now() >= until || !n.clock.Sleep(ctx.Done(), lagPause) {
			return fmt.Sprintf("it is at %s, the primary was at %s", lent.LSN, had.LSN)
		}
	}
	if err != nil {
		return err.Error()
	}
	proof, err := n.pg.SourceInfo(ctx, primary)
	if err != nil {
		return err.Error()
	}
	return postgres.Standing(proof, lent)
}
