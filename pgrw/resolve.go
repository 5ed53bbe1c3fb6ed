package pgrw

import "time"

// member is what an agent says of one server.
type member struct {
	name, address, api string
	role, state        string
	timeline           uint32
	tags               map[string]string
}

// serves reports whether an agent's word has reads go there: Patroni calls a standby
// that streams "streaming" or, up to version 2, "running".
func (m member) serves() bool {
	return m.state == "streaming" || m.state == "running" || m.state == "in archive recovery"
}

// report is what an agent says of the cluster.
type report struct {
	members []member
	// leader is the address of the member that may be written to, empty when there is none.
	leader string
	term   int64
}

// probed is how a server answered when it was asked last; the zero value is "not asked yet".
type probed struct {
	at       time.Time
	ok       bool
	recovery bool
	timeline uint32
	lsn      LSN
}

// seat is a server, what is said of it, and what it says itself.
type seat struct {
	address string
	member  *member // nil when no agent tells of it
	probe   probed
	down    bool // it failed since it last answered
}

// ruling is what a server is taken for.
type ruling struct {
	role Role
	up   bool
}

// resolve decides what each server is. An agent's word decides roles while there is one:
// it knows of the lease. Otherwise the servers are asked: a primary is one out of
// recovery, of the highest timeline if there are several, since the others were left
// behind by a promotion.
func resolve(told bool, leader string, seats []seat) []ruling {
	out := make([]ruling, len(seats))
	best := -1
	for i, s := range seats {
		out[i] = ruling{role: RoleUnknown, up: !s.down}
		switch {
		case told && s.address == leader:
			best = i
		case told:
			if s.member != nil && s.member.serves() && isReplica(s.member.role) {
				out[i].role = RoleReplica
			}
		case !s.probe.ok:
			out[i].up = false
			if s.probe.recovery {
				out[i].role = RoleReplica // it was when it last answered
			}
		case s.probe.recovery:
			out[i].role = RoleReplica
		case best < 0 || later(s.probe, seats[best].probe):
			best = i
		}
	}
	if best >= 0 {
		out[best].role = RolePrimary
	}
	return out
}

func later(a, b probed) bool {
	return a.timeline > b.timeline || a.timeline == b.timeline && a.lsn > b.lsn
}

// isReplica knows the words of GET /cluster and of GET /events.
func isReplica(role string) bool {
	switch role {
	case "replica", "sync_standby", "quorum_standby", "standby_leader":
		return true
	}
	return false
}
