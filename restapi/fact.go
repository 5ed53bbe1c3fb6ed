package restapi

import (
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// facts are what one request may conclude from the Status at its moment of
// answering. Status is never nil.
type facts struct {
	*cluster.Status
	now cluster.Instant
	// quick is the newest quick look at the server's positions; nil when there is none, or
	// nobody asked for lag.
	quick *cluster.Progress
	// limits remembers which limits on lag were passed.
	limits *limits
}

// facts takes the newest status first and the clock second: the lease is compared
// with the latest moment before the answer.
func (s *Server) facts() facts {
	status := s.options.Status()
	if status == nil {
		status = &unborn
	}
	return facts{Status: status, now: s.options.Now(), limits: &s.limits}
}

// unborn is what a node says before its loop stored a first status.
var unborn = cluster.Status{
	Role: cluster.RoleUninitialized, State: cluster.StateStarting,
	Reason: "agent_starting", Detail: "the agent has not looked at its server or the store yet",
}

// ttl and loopWait are the timings in force, or the defaults before any are known.
func (f facts) ttl() time.Duration {
	if f.Settings.TTL > 0 {
		return f.Settings.TTL
	}
	return cluster.DefaultTTL
}

func (f facts) loopWait() time.Duration {
	if f.Settings.LoopWait > 0 {
		return f.Settings.LoopWait
	}
	return cluster.DefaultLoopWait
}

// current reports whether the loop still looks: what it said about the server
// longer ago than this is not repeated to a load balancer.
func (f facts) current() bool {
	return !f.LoopAt.Never() && f.now.Sub(f.LoopAt) <= f.loopWait()+2*f.ttl()
}

// running reports whether the server answered at the last look.
func (f facts) running() bool {
	return f.current() && f.Node.Good() && f.Node.Value.Mode.Running()
}

// primary is the strict answer of /primary (S3).
func (f facts) primary() bool {
	return f.Writable(f.now) && f.Role != cluster.RoleStandbyLeader
}

// standbyLeader reports whether this node leads a standby cluster.
func (f facts) standbyLeader() bool {
	return f.Role == cluster.RoleStandbyLeader && f.Holds(f.now) && f.standby()
}

// standby reports whether the server runs in recovery.
func (f facts) standby() bool { return f.running() && f.Node.Value.Mode == cluster.ModeStandby }

// viewFresh reports whether the store was seen within ttl; older news about who
// is synchronous is not repeated.
func (f facts) viewFresh() bool { return f.View.Good() && f.now.Sub(f.View.At) <= f.ttl() }

// quorumMode reports whether synchronous standbys are voters of a quorum.
func (f facts) quorumMode() bool { return strings.EqualFold(f.Settings.SynchronousMode, "quorum") }

// synchronous reports whether /sync lists the member. PostgreSQL compares such
// names without regard to case, and so does this.
func (f facts) synchronous(member string) bool {
	sync := f.View.Value.Sync
	if sync == nil || sync.Leader == "" {
		return false
	}
	for name := range strings.SplitSeq(sync.SyncStandby, ",") {
		if strings.EqualFold(strings.TrimSpace(name), member) {
			return true
		}
	}
	return false
}

// streaming reports whether WAL arrives from upstream right now.
func (f facts) streaming() bool {
	r := f.Node.Value.Receiver
	return f.standby() && r != nil && r.Status == stateStreaming
}

// The replication states Patroni knows.
const (
	stateStreaming = "streaming"
	stateArchive   = "in archive recovery"
)

// replicationState is how a standby gets its WAL, as Patroni names it; empty
// when it gets none, or is no standby.
func (f facts) replicationState() string {
	switch {
	case f.streaming():
		return stateStreaming
	case f.standby() && f.Node.Value.Receiver == nil && f.Settings.PostgreSQL.RecoveryConf["restore_command"] != "":
		return stateArchive
	}
	return ""
}

// position is the newest look at the local server's positions: the quick one, or the
// status' own when that is newer.
func (f facts) position() cluster.Progress {
	if f.quick != nil && f.quick.At >= f.Node.At {
		return *f.quick
	}
	n := &f.Node.Value
	out := cluster.Progress{At: f.Node.At, Mode: n.Mode, Write: n.WriteLSN, Receive: n.ReceiveLSN, Replay: n.ReplayLSN, Streaming: f.streaming()}
	if n.Receiver != nil {
		out.Latest = n.Receiver.Latest
	}
	if n.Mode == cluster.ModePrimary {
		out.Standbys = map[string]cluster.LSN{}
		for _, sender := range n.Walsenders {
			out.Standbys[sender.Name] = max(sender.Replay, out.Standbys[sender.Name])
		}
	}
	return out
}

// replayed is how far a standby has replayed, received how far it has WAL.
func (f facts) replayed() cluster.LSN { return f.position().Replay }

func (f facts) received() cluster.LSN {
	p := f.position()
	return max(p.Receive, p.Replay)
}

// lagTime is for how long a standby has missed WAL that is known to exist. Known is false
// where nobody can say: nothing streams, or nobody has measured it lately.
func (f facts) lagTime() (behind time.Duration, known bool) {
	p := f.quick
	if p == nil || !p.Known || !p.Streaming || f.now.Sub(p.At) > progressAge {
		return 0, false
	}
	if p.Behind == 0 {
		return 0, true
	}
	return p.Behind + f.now.Sub(p.At), true
}

// progressAge is for how long a quick look counts.
const progressAge = 2 * time.Second

// lag is how many bytes position lies behind the newest end of WAL heard of: the
// primary's published position, or what it last told the WAL receiver. Known is
// false when either is unknown, or when the news are old and nothing streams.
func (f facts) lag(position cluster.LSN) (bytes uint64, known bool) {
	var end cluster.LSN
	if status := f.View.Value.Status; status != nil {
		end = status.Optime
	}
	end = max(end, f.position().Latest)
	if !end.Known() || !position.Known() || (!f.streaming() && !f.viewFresh()) {
		return 0, false
	}
	return position.Behind(end), true
}
