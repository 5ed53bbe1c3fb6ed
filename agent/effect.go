package agent

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// Lane is where an effect runs; each runs one at a time.
type Lane uint8

// The lanes.
const (
	LaneLook Lane = iota
	LaneLease
	LaneKeys
	LaneMember
	LaneServer
	// LaneCheckpoint is apart: a checkpoint takes minutes on a large server, and neither a
	// promise nor whom commits wait for can wait that long.
	LaneCheckpoint
	LaneJob
	LaneGuard
	LaneFence
	LanePersist
	LaneReread
	LaneFailsafe
	LanePledge
	LaneKnock
	LaneStore
	lanes // how many there are
)

// Effect is one thing the driver must start. It ends by itself within Limit.
type Effect struct {
	Lane Lane
	// Limit bounds it; 0 for jobs, which know their own.
	Limit time.Duration
	Do    Do
}

// Do is what an effect does; the set is closed.
type Do interface{ do() }

type (
	// Look looks at the server; Running and PID are the guard's word.
	Look struct {
		Fast, Running bool
		PID           int
		Instance      string
	}
	// OpenSession grants the member lease; Resume names a predecessor's lease
	// to go on with, 0 for none.
	OpenSession struct {
		TTL    time.Duration
		Resume int64
	}
	// KeepAlive refreshes the member lease.
	KeepAlive struct{}
	// PutMember writes the member key.
	PutMember struct{ Member *cluster.Member }
	// OnLease is an action on the leader key, with what it needs beside.
	OnLease struct {
		Action    election.Action
		Settings  cluster.Settings
		Holder    cluster.Holder
		Timelines *cluster.Timelines
		// BeatRev is the beat a release names.
		BeatRev int64
		// Margin is what the guard gets to stop the server in.
		Margin time.Duration
		// Deadline is the guard's now; 0 for none.
		Deadline cluster.Instant
		// Renewed is s of the last renewal that counted, of the term held.
		Renewed cluster.Instant
		// Term is held while the action runs; 0 for actions that seek one.
		Term cluster.Term
	}
	// OnKeys is an action on a key a holder guards by its term.
	OnKeys struct {
		Action election.Action
		// Holder is what the holder record must say.
		Holder cluster.Holder
		// Over is the revision of what the action takes the place of, 0 for nothing; for
		// the record of rules, the failsafe list and the switchover.
		Over int64
	}
	// OnServer is quick SQL.
	OnServer struct {
		Action election.Action
		// Instance is the guard's server now.
		Instance string
		Settings cluster.Settings
		Upstream *election.Upstream
		// Gated tells that the server may have a gate: the guard is asked. Waits tells
		// that commits wait for one, as of the last look, whether or not it is there.
		Gated, Waits bool
	}
	// OnJob is long work. The rest is what the action needs beside.
	OnJob struct {
		Action   election.Action
		Settings cluster.Settings
		Node     cluster.NodeState
		Term     cluster.Term
		// Instance is the guard's server when the job began.
		Instance string
		// CloneFrom is the standby to copy in a clone; nil for none.
		CloneFrom *election.Upstream
	}
	// OnFence kills the server past a guard that hangs.
	OnFence struct{}
	// ReadStore has the store read anew, which ViewSeen or ViewFailed tells.
	ReadStore struct{}
	// Reread reads the local configuration again, as an operator asked.
	Reread struct{}
	// Cancel ends early what runs in its lane, if anything does.
	Cancel struct{}
	// GuardEnd ends a term at the guard.
	GuardEnd struct{ Term cluster.Term }
	// GuardWrites tells the guard that its server writes.
	GuardWrites struct{ Instance string }
	// GuardPause switches the enforcement of the deadline.
	GuardPause struct{ On bool }
	// OnFailsafe asks the members for their promise, and moves the guard's deadline.
	OnFailsafe struct {
		Ask         election.AskFailsafe
		Term        cluster.Term
		TTL, Margin time.Duration
	}
	// Knock tries whether anything of the leader's node answers.
	Knock struct{ Leader, APIURL, Host, Port string }
	// AnswerFailsafe answers another member's question.
	AnswerFailsafe struct {
		ID     uint64
		Answer cluster.FailsafeAnswer
	}
	// Persist keeps the highest revision and term seen (S4).
	Persist struct {
		ClusterID uint64
		Revision  int64
		Term      cluster.Term
		Promised  cluster.Term
		Paused    bool
		// Unconfirmed is the instance of a primary that recovered from a crash.
		Unconfirmed string
		// Strayed: this data came out of recovery on a timeline that is another's.
		Strayed bool
		// Whose is whose timeline this data is on.
		Whose Whose
		// PatroniLed: the newest leader known was a Patroni member.
		PatroniLed bool
		// ReplayRate is what a recovery here replays in a second.
		ReplayRate int64
		Pledge     cluster.Pledge
		Tenure     *cluster.Tenure
	}
)

func (Look) do()        {}
func (OpenSession) do() {}
func (KeepAlive) do()   {}
func (PutMember) do()   {}
func (OnLease) do()     {}
func (OnKeys) do()      {}
func (OnServer) do()    {}
func (OnJob) do()       {}
func (OnFence) do()     {}
func (ReadStore) do()   {}
func (GuardWrites) do() {}
func (Reread) do()      {}
func (Cancel) do()      {}
func (GuardEnd) do()    {}
func (GuardPause) do()  {}
func (Persist) do()     {}

func (OnFailsafe) do()     {}
func (AnswerFailsafe) do() {}
func (Knock) do()          {}
