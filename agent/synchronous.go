package agent

import (
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// foldSync notes the rule that was proved to be in force.
func (l *Loop) foldSync(e ServerDone, a election.SetSync) {
	s := &l.obs.Sync
	s.Instance, s.Names, s.From = e.Instance, a.Names, e.From
}

// keepNaming ends the telling of a server that is gone: nobody is promoted before it ends.
func (l *Loop) keepNaming() []Effect {
	if l.server.naming == "" || !l.obs.Guard.Connected || l.server.naming == l.instance() {
		return nil
	}
	return []Effect{{Lane: LaneServer, Do: Cancel{}}}
}

// promise keeps what this member has just made true: its receiver of the old primary is
// gone. It counts only once it is on disk; a memory that is being written does not have
// it yet. It binds at once.
func (l *Loop) promise(term cluster.Term) []Effect {
	l.seen.Promised = max(l.seen.Promised, term)
	l.obs.Self.Promising = l.seen.Promised
	return l.persist()
}

// persist writes the memory, unless one is being written: its end writes what is new.
func (l *Loop) persist() []Effect {
	if l.busy[LanePersist] {
		return nil
	}
	l.busy[LanePersist] = true
	return []Effect{{Lane: LanePersist, Limit: l.obs.Settings.RetryTimeout, Do: Persist(l.seen)}}
}

// foldPersisted takes what is on disk now. A promise is looked at once more before it
// is told: the position that is reported with it must have been read after.
func (l *Loop) foldPersisted(e persisted) []Effect {
	l.busy[LanePersist] = false
	l.server.unconfirmed = e.Memory.Unconfirmed
	if e.Err == "" && e.Memory.Promised > l.obs.Self.Promised {
		l.obs.Self.Promised = e.Memory.Promised // guard: promise_is_durable — SAFETY 3
		l.log.Info("promise kept", "member", l.id.Name, "term", int64(e.Memory.Promised))
		l.stale("a promise was just made")
	}
	// One that cannot be written was told to nobody and binds nobody: a race that still
	// wants it asks again. Otherwise a full disk would keep this member from following, and
	// the holder would never learn why.
	if self := &l.obs.Self; e.Err != "" || self.Promising <= self.Promised {
		self.Promising, l.seen.Promised = 0, self.Promised
	}
	if e.Err == "" {
		l.tenure = e.Memory.Tenure
	}
	if e.Err == "" && (l.seen.Promised > e.Memory.Promised || l.seen.Paused != e.Memory.Paused || l.seen.Pledge != e.Memory.Pledge || l.seen.Strayed != e.Memory.Strayed || l.seen.Whose != e.Memory.Whose || l.seen.Tenure != e.Memory.Tenure) {
		return l.persist()
	}
	return nil
}

// recovered: a primary has recovered from a crash, which made commits visible that no
// standby may have. Its rule has to be proved anew. The next worker must know of it too.
func (l *Loop) recovered(instance string) {
	l.obs.Sync = election.Sync{Recovered: true}
	l.seen.Unconfirmed = instance
}

// keepRecovered writes down which server the next worker must take for unconfirmed.
func (l *Loop) keepRecovered() []Effect {
	if l.seen.Unconfirmed == l.server.unconfirmed {
		return nil
	}
	return l.persist()
}

// deriveSync latches that what a recovered primary shows is on its standbys.
func (l *Loop) deriveSync() {
	o := &l.obs
	switch {
	case !o.Sync.Recovered || o.Sync.Confirmed:
	case o.View.Good() && !o.View.Value.Durability.Asks(): // nobody was to have them
		o.Sync.Recovered, l.seen.Unconfirmed = false, ""
	case election.ConfirmedByRule(o):
		o.Sync.Confirmed, l.seen.Unconfirmed = true, ""
	}
}
