package agent

import (
	"encoding/json"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// reads are those of the store that the loop asks for: wanted, and under way.
type reads struct {
	wanted, busy bool
	// past is the newest term that this process has held and holds no more, as a revision;
	// pastAt is when that ended.
	past   int64
	pastAt cluster.Instant
}

// session is the member lease.
type session struct {
	lease int64
	ttl   time.Duration
	// kept is just before the last keepalive that succeeded left, tried before
	// the last attempt.
	kept, tried cluster.Instant
	// opening: another lease is being granted. No call on the leader key begins
	// meanwhile: it would put the key on this one, and nobody would keep the other,
	// with the member key on it, alive.
	opening bool
	// shortest is the least T that a call of the term held may have put into the
	// beat, or still put there; 0 for none but the lease's own.
	shortest time.Duration
}

// configState is the dynamic configuration.
type configState struct {
	raw json.RawMessage
	rev int64
	// settings are the last good ones; problem says why raw is not in force, or not all
	// of it: read tells that another was before it.
	settings cluster.Settings
	problem  string
	read     bool
	// applied is the revision the server was last configured with.
	applied int64
	// refused is the revision that the server could not be brought to, which is tried
	// again at retryAt, pause after the last try.
	refused int64
	retryAt cluster.Instant
	pause   time.Duration
	// gated tells that the server may have a gate, wanted or not any more.
	gated bool
	// pausing: the guard was told to pause or resume and has not answered;
	// pauseAt is when to tell it again after a refusal.
	pausing bool
	pauseAt cluster.Instant
}

// looks is the cadence of looking.
type looks struct {
	began cluster.Instant
	// watching: the leader's node is watched closely. whole is when the last look began
	// that was not a cheap one.
	watching bool
	whole    cluster.Instant
	// wanted: something happened that makes the last look old.
	wanted bool
	// failed: the last look failed, and nothing has happened since.
	failed bool
	// stale is when something last made every look old that had begun.
	stale cluster.Instant
	// whence is where the WAL that does not come was to come from.
	whence whence
}

// keysState is what a holder has published and must still answer.
type keysState struct {
	retryAt cluster.Instant
	// written is the revision of the last write that took the place of something. Until
	// the view has it, it would be decided upon again.
	written int64
	// cleared is the wish that was cleared last, clearedAt when. Until the view has that, it
	// would be cleared again, and fail, and hold the lane up.
	cleared   int64
	clearedAt cluster.Instant
	answers   []election.Answer
	// screened are request ids that were answered and may still be in the view.
	screened map[string]bool
}

// serverState is about the local server beyond the observation.
type serverState struct {
	// retryAt is when a lane is used again after a failure in it, checkpointAt that of
	// checkpoints: a promise, and whom commits wait for, do not wait for those.
	retryAt, checkpointAt cluster.Instant
	// exited is the instance the guard reported gone last.
	exited string
	// told is when the guard was told last that its server writes.
	told cluster.Instant
	// followed is whom the server was told last to stream from, at followedAt. A look from
	// before that shows somebody else.
	followed   election.Follow
	followedAt cluster.Instant
	// born is the checkpointer that was last seen of an instance.
	born struct {
		instance     string
		checkpointer int
	}
	// unconfirmed is Memory.Unconfirmed as it was last written, or tried to be.
	unconfirmed string
	// configuring: a reload is under way. It may be about to take a gate's name off that
	// could not stream, which must not be the name that a server starts with meanwhile.
	configuring bool
	// naming is the server that is being told whom commits wait for; empty for none.
	naming string
	// gave is the term that was handed over while the server of it had yet to exit; 0 for
	// none. The guard is told of its end with the server's.
	gave cluster.Term
	// restarting is the request the running restart answers.
	restarting *cluster.Request
	// source is the leader that the job under way copies, or compares with; empty for none.
	// lent: it copies a standby in its place.
	source string
	lent   bool
	// recovers is pg_control as it was when the job began, which may be a recovery.
	recovers cluster.ControlData
	// reloading is the answer that the reload under way will give if it ends well.
	reloading *election.Answer
	// restarted is the answer that waits for the first look after it.
	restarted  *election.Answer
	scheduled  *cluster.RestartArgs
	scheduleAt time.Time
}

// Memory is what survives a reboot of this node (S4, and the promises of SAFETY 3).
type Memory struct {
	ClusterID uint64       `json:"cluster_id"`
	Revision  int64        `json:"revision"`
	Term      cluster.Term `json:"term"`
	// Promised is the newest term this member takes no WAL from.
	Promised cluster.Term `json:"promised,omitempty"`
	// Paused: the guard was told of a pause, and not of its end.
	Paused bool `json:"paused,omitempty"`
	// Unconfirmed is the instance of a primary that has recovered from a crash, until what
	// that made visible is on its standbys.
	Unconfirmed string `json:"unconfirmed,omitempty"`
	// Strayed: this data came out of recovery on a timeline that is another's.
	Strayed bool `json:"strayed,omitempty"`
	// Whose is whose timeline this data is on, where Patroni runs others.
	Whose Whose `json:"whose,omitzero"`
	// PatroniLed: the newest leader that this member knows of was a Patroni member.
	PatroniLed bool `json:"patroni_led,omitempty"`
	// ReplayRate is how many bytes of WAL the last long recovery replayed in a second.
	ReplayRate int64 `json:"replay_rate,omitempty"`
	// Pledge is the last promise to a holder without store.
	Pledge cluster.Pledge `json:"pledge,omitzero"`
	// Tenure is what the next worker must know of the term held; it is never changed, but
	// replaced.
	Tenure *cluster.Tenure `json:"tenure,omitempty"`
}
