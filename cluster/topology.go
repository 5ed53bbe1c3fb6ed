package cluster

import (
	"maps"
	"slices"
	"strconv"
)

// Topology is where writes and reads may go, as one observer knows it: an agent, or
// whoever reads the store. GET /events tells it and its changes.
type Topology struct {
	Scope string `json:"scope"`
	// Revision is the state of the store it was read from.
	Revision int64 `json:"revision"`
	// Leader is the one member that may be written to; nil: none is known.
	Leader *TopologyLeader `json:"leader"`
	// Members are sorted by name.
	Members []TopologyMember `json:"members"`
}

// TopologyLeader is a primary that holds the lease, its server out of recovery.
type TopologyLeader struct {
	Name     string   `json:"name"`
	Term     Term     `json:"term"`
	Timeline Timeline `json:"timeline"`
	Host     string   `json:"host"`
	Port     int      `json:"port"`
}

// TopologyMember is one member as it calls itself in its member key; the names are those
// of GET /cluster.
type TopologyMember struct {
	Name             string   `json:"name"`
	Role             Role     `json:"role"`
	State            State    `json:"state"`
	ReplicationState string   `json:"replication_state,omitempty"`
	Host             string   `json:"host"`
	Port             int      `json:"port"`
	APIURL           string   `json:"api_url"`
	Timeline         Timeline `json:"timeline,omitempty"`
	Tags             Tags     `json:"tags,omitempty"`
	Sick             Ailment  `json:"sick,omitempty"`
}

// Readable reports whether reads may go to the member as a replica: a running standby
// that may be balanced to. How far it lags is another question.
func (m TopologyMember) Readable() bool {
	return m.Role == RoleReplica && m.State == StateRunning && !m.Tags.Bool("noloadbalance")
}

// Equal compares all fields.
func (m TopologyMember) Equal(other TopologyMember) bool {
	return sameMap(m.Tags, other.Tags) && m.Name == other.Name && m.Role == other.Role && m.State == other.State && m.ReplicationState == other.ReplicationState &&
		m.Host == other.Host && m.Port == other.Port && m.APIURL == other.APIURL && m.Timeline == other.Timeline && m.Sick == other.Sick
}

// Member finds a member by name.
func (t Topology) Member(name string) (TopologyMember, bool) {
	for _, m := range t.Members {
		if m.Name == name {
			return m, true
		}
	}
	return TopologyMember{}, false
}

// Topology reads a view of the store: its leader is the holder of the leader key, once
// its member key says that it runs as the primary. Holding the key alone is not enough:
// until the promotion has ended the server refuses writes.
func (v View) Topology(scope string) Topology {
	t := Topology{Scope: scope, Revision: v.Revision, Members: []TopologyMember{}}
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		m := v.Members[name]
		t.Members = append(t.Members, m.topology())
	}
	if m, found := v.LeaderMember(); found && m.Role == RolePrimary && m.State == StateRunning {
		seat := m.topology()
		t.Leader = &TopologyLeader{Name: m.Name, Term: v.Leader.Term, Timeline: m.Timeline, Host: seat.Host, Port: seat.Port}
	}
	return t
}

func (m *Member) topology() TopologyMember {
	out := TopologyMember{Name: m.Name, Role: m.Role, State: m.State, ReplicationState: m.ReplicationState,
		APIURL: m.APIURL, Timeline: m.Timeline, Tags: m.Tags}
	if host, port, ok := m.Address(); ok {
		out.Host = host
		out.Port, _ = strconv.Atoi(port) // a port that is no number is 0
	}
	if m.Keeper != nil {
		out.Sick = m.Keeper.Sick
	}
	return out
}
