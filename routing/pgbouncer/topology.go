package pgbouncer

import (
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// server is where a member's PostgreSQL listens.
type server struct{ host, port string }

// want is what the pooler should do, as one view of the store has it.
type want struct {
	primary  server // zero while nobody is known
	replicas []server
	// hold: there is no primary to send work to, or there will be none in a moment; held
	// is the switchover that it is for, if it is for one.
	hold bool
	held string
}

// wanted reads a view; false when it says nothing about where the primary is: what was
// known then stands. late tells a replica that is too far behind to be read from.
func wanted(v *cluster.View, late func(server, uint64) bool) (w want, known bool) {
	leader, ok := v.LeaderMember()
	if ok {
		w.primary, known = serverOf(leader)
	}
	w.hold = !known || !leader.RunsPrimary()
	if sw := v.Switchover; sw != nil && (sw.Phase == cluster.SwitchoverHolding || sw.Phase == cluster.SwitchoverStopping) {
		w.hold, w.held = true, sw.ID
	}
	written := leader.XlogLocation
	if v.Status != nil {
		written = max(written, v.Status.Optime)
	}
	names := make([]string, 0, len(v.Members))
	for name := range v.Members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		m := v.Members[name]
		if s, ok := serverOf(m); ok && reads(&m, &leader) && !late(s, m.ReplayLSN.Behind(written)) {
			w.replicas = append(w.replicas, s)
		}
	}
	return w, known
}

// reads: the member is a standby that follows the leader and may serve readers.
func reads(m, leader *cluster.Member) bool {
	return m.Role == cluster.RoleReplica && m.State == cluster.StateRunning && m.ReplicationState == "streaming" &&
		m.Timeline == leader.Timeline && !m.Tags.Bool("noloadbalance")
}

// serverOf is a member's address as it can stand in a file; false for one that cannot.
func serverOf(m cluster.Member) (server, bool) {
	host, port, ok := m.Address()
	plain := !strings.ContainsFunc(host+port, func(r rune) bool {
		return r != '.' && r != ':' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	return server{host, port}, ok && plain && host != "" && port != ""
}

// balanced are the servers of one list: PgBouncer has one port for all hosts of a
// database, so that of several ports the most common one is taken.
func balanced(all []server) (hosts []string, port string) {
	count := map[string]int{}
	for _, s := range all {
		count[s.port]++
		if port == "" || count[s.port] > count[port] || count[s.port] == count[port] && s.port < port {
			port = s.port
		}
	}
	for _, s := range all {
		if s.port == port {
			hosts = append(hosts, s.host)
		}
	}
	return hosts, port
}
