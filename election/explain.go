package election

import (
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// explanation is a reason for people: what is the case, and what would have to
// change or what to do.
type explanation struct{ why, next string }

const nothing = "Nothing to do."

// explanations has every reason of reason.go, in the order of its files; a test
// compares the two, and docs/operations.md is made from it.
var explanations = map[cluster.Reason]explanation{
	// fence.go, inherit.go, blind.go, paused.go
	ReasonSettling:         {"The answer to a hand-over or release was lost, so this member asks the store under its own term which of the two happened.", "It ends with the next answer of etcd; if it lasts, restore etcd."},
	ReasonLeaseLost:        {"The store shows that the leader key has gone to another term, so this member's term ended and its server is stopped if it could write.", "It rejoins by itself; if nobody deleted the key by hand, look for slow etcd calls just before."},
	ReasonDeadlinePassed:   {"No renewal of the lease counted for so long that another member may lead, so the term was given up and the guard stops a server that can write.", "It rejoins by itself. The detail says what kept the lease from being renewed: etcd (look at its latency, and at the network between), the server (see pgkeeper_look_seconds, and what the machine has to do), or the guard."},
	ReasonForeignSystem:    {"The data directory has another system identifier than the cluster, so it belongs to a different cluster and is not touched.", "Correct scope or data_dir, or move the directory away to have it cloned."},
	ReasonFenceNoLease:     {"A server that accepts writes runs here while this member holds no lease, so it is stopped at once.", "It rejoins by itself; do not start or promote the server by hand outside a pause."},
	ReasonAdoptPrimary:     {"A running primary was found in a cluster that nobody leads, and this member takes the lease for it without touching it.", "It ends when etcd answers and a possible last holder has been silent for ttl."},
	ReasonGuardFrozen:      {"The guard, the parent of the server, misses its heartbeats, so the server is stopped before its deadline can be missed.", "It recovers by itself; find out what stopped the process (SIGSTOP, a debugger, exhausted memory)."},
	ReasonForeignHolder:    {"The leader key names this member but was not taken for this server: another machine has the same name, or this one was rebooted.", "It ends when the key expires; make sure that no second machine uses this name."},
	ReasonStoreRefused:     {"The store answers, but it is another etcd or was restored from a backup, so what it says is not believed.", "Follow the detail: once no old primary can be running, remove memory.json from the state directory of every node."},
	ReasonStoppingAgent:    {"The agent was told to stop and stops its server first.", "Nothing to do; pause the cluster first if the server should go on without its agent."},
	ReasonStopped:          {"The agent was told to stop and everything that had to be done is done.", nothing},
	ReasonPausedLeading:    {"The cluster is paused, and this member keeps the lease for its running primary.", "Run pgkeeper resume to have pgkeeper act again."},
	ReasonPaused:           {"The cluster is paused, so nothing here is touched.", "Run pgkeeper resume to have pgkeeper act again."},
	ReasonPausedNoPrimary:  {"The cluster is paused and this member's server was stopped, so it gives the lease back.", "Start the server by hand, or run pgkeeper resume."},
	ReasonPausedElsewhere:  {"Another member was primary during the pause and has not said that it is not any more, so electing could make two.", "Bring that member's agent up; if the machine is dead for certain, fail over with --force."},
	ReasonWaitingForStore:  {"etcd cannot be read, so nothing is concluded from what it said before.", "Restore etcd: look at its members and at the addresses and credentials in the configuration."},
	ReasonWaitingForGuard:  {"There is no session with the guard, the parent of the server, so nothing can be done to the server.", "The supervisor starts one; if it lasts, look at the agent's log and at the runtime directory's permissions."},
	ReasonServerUnknown:    {"The server or its data directory could not be looked at, so nothing is concluded about it.", "Follow the detail: credentials, connections, permissions, or a server that hangs."},
	ReasonStandbyWithoutDC: {"etcd cannot be read since the agent started, so the stopped server is started as a standby for reading; it cannot be promoted.", "Restore etcd."},
	ReasonBackingOff:       {"The last try of this work failed, and the next one waits a little longer each time, up to ten seconds.", "Follow the detail, which has the error."},

	// bootstrap.go
	ReasonClaiming:         {"The cluster does not exist yet, and this member tries to win the right to initialise it.", nothing},
	ReasonInitDB:           {"This member won the right to initialise the cluster and runs initdb, and then `bootstrap.post_bootstrap` where it is set.", nothing},
	ReasonFinishing:        {"initdb is done, and this member records the new cluster and takes the lease in one transaction.", "It ends when etcd answers."},
	ReasonAbandoning:       {"This member's bootstrap failed or lost to another, so it gives its claim back or moves its own new directory aside.", "If it repeats, follow the detail: it has the error of initdb or of `bootstrap.post_bootstrap`."},
	ReasonWaitingBootstrap: {"Another member initialises the cluster, or has to.", "It ends when that member is done or its claim expires; if every member is tagged nofailover, take the tag off one; if the data of a cluster whose key initialize was deleted is lost for good, delete the other keys of the cluster too."},
	ReasonRecordSystem:     {"The store knows no system identifier, and this member records that of the data that exists.", "Nothing to do; a standby waits for the member that was primary to come first."},
	ReasonWaitingForData:   {"This member has no usable data, and nobody leads from whom to clone.", "Start a member that has data."},

	// holder.go
	ReasonLeading:           {"This member holds the lease and its server is the primary.", nothing},
	ReasonReserving:         {"Before its promotion this member reserves a timeline number that no other term can use.", "It ends when etcd answers; if it lasts, look whether the key pgkeeper/timelines can be read."},
	ReasonPromoting:         {"This member holds the lease and its standby is being promoted.", nothing},
	ReasonPromotionFails:    {"The promotion failed repeatedly, so the server is stopped and the lease given to somebody else.", "Follow the detail and the server's log."},
	ReasonForeignTimeline:   {"This member's server accepts writes on a timeline that was not reserved for it: it crashed in the middle of its promotion and recovered by itself, or somebody promoted it. What is written there could not be told from another primary's, so the server is stopped, and another member leads, or this one is promoted properly.", "Nothing to do; do not promote the server by hand outside a pause."},
	ReasonRestartCrashed:    {"This member holds the lease and its server is down, so it is started again as the primary.", "Nothing to do; the server's log has the cause of the crash."},
	ReasonStartToPromote:    {"This member holds the lease and its standby is down, so it is started to be promoted; so is a server that died in the middle of its promotion.", nothing},
	ReasonHolderWaits:       {"This member holds the lease and waits for its own server to start, to stop, or to be seen.", "If it lasts, look at the server's log: a recovery may be long, or a process may hang in the kernel."},
	ReasonHolderNoData:      {"This member holds the lease but has no usable data directory, so it gives the lease back.", "Nothing to do here: another member takes over, and this one is cloned."},
	ReasonReleasing:         {"This member's server is proved stopped, and it gives the lease back so that others need not wait.", nothing},
	ReasonInheriting:        {"A worker before this one held the lease for the server that runs here, and this one continues on it under a new term.", nothing},
	ReasonAcceptingHandover: {"The lease was handed over to this member, which takes it up and reserves its timeline in one transaction.", "It ends when etcd answers."},

	// sick.go
	ReasonGivingUp:      {"This member holds the lease, but its server cannot serve and another member can: the server is stopped and the lease released.", "Look at the detail: free the disk, replace it, or find out why the server hung. The member rejoins by itself and is no candidate for a minute."},
	ReasonSickCandidate: {"Nobody leads, but this member's own server or disk is sick, so it leaves the race to others.", "Follow the detail. If no other member can lead, name this one as the candidate of a failover."},

	// switchover.go
	ReasonSwitchoverRefused:   {"The switchover or failover that was asked for is not possible, and nothing was tried.", "Follow the detail, then ask again."},
	ReasonSwitchoverPreparing: {"A switchover begins: both ends write a checkpoint; clients notice nothing yet.", "It ends within 30 s, one way or the other."},
	ReasonSwitchoverHolding:   {"A switchover is about to stop the primary: connection poolers let transactions end and keep new ones waiting.", "It goes on at once when they do, and without them after 5 s."},
	ReasonSwitchoverStopping:  {"A switchover is under way and the primary shuts down.", nothing},
	ReasonSwitchoverConfirm:   {"The primary is down and waits for the candidate to confirm that it has everything.", "It ends within seconds: without the confirmation the old primary starts again."},
	ReasonHandingOver:         {"The candidate has everything, and the lease is handed to it in one transaction.", "It ends when etcd answers."},
	ReasonSwitchoverAborted:   {"The switchover was rolled back and the old primary carries on.", "Follow the detail, then ask again."},
	ReasonCandidatePreparing:  {"This member was chosen to take over and runs a restart point so that its promotion is short.", nothing},
	ReasonCandidateReady:      {"This member is ready to take over and waits for the primary to stop.", nothing},
	ReasonCandidateConfirms:   {"The primary has stopped streaming, and this member says how far it got.", nothing},

	// race.go
	ReasonNoWatchdog:      {"Nobody leads, but this member's settings require a kernel watchdog that cannot be used.", "Follow the detail: load the module, let the agent's user write to the device, or set watchdog.mode to automatic."},
	ReasonNoFailover:      {"Nobody leads, but this member is tagged nofailover.", "Take the tag off, or start another member."},
	ReasonNotHealthy:      {"Nobody leads, but this member's server is not a running standby.", "Wait for it to come up, or look at the server's log."},
	ReasonTooFarBehind:    {"Nobody leads, but this member is further behind the lost primary than maximum_lag_on_failover allows.", "Bring a member that has more; or accept the loss: name this one as the candidate of a failover."},
	ReasonOldTimeline:     {"Nobody leads, but this member has not seen the timeline the lost primary wrote on.", "Bring a member that has. With check_timeline off it goes itself after the ttl, within maximum_lag_on_failover; else name it as the candidate of a failover."},
	ReasonWaitingForLease: {"Nobody leads, but the last holder may be alive for at most ttl after its last beat.", nothing},
	ReasonLooking:         {"Nobody leads, and this member looks at its server once more before it says how far it got.", nothing},
	ReasonCollecting:      {"Nobody leads, and members that run have not reported their positions yet.", "It ends after 0.3 s."},
	ReasonBetterCandidate: {"Nobody leads, and another member has more or comes first, so it is given the first try.", "If that one sleeps, this member goes after 1.3 s."},
	ReasonNamedCandidate:  {"Nobody leads, and the operator named another member, which is given the first try.", "If that one sleeps, the race is open after 5 s."},
	ReasonAcquiring:       {"Nobody leads and it is this member's turn, so it takes the lease.", "It ends when etcd answers."},
	ReasonStartToRace:     {"Nobody leads and this member's server is down, so it is started as a standby, whatever it was before.", nothing},

	// synchronous.go, revoke.go, patroni.go
	ReasonNotListedSync: {"Nobody leads, Patroni members have a say, and by the key sync commits may rest on copies that this member is none of.", "Bring up a member that the detail names; only if what they have may be lost, pgkeeper failover --candidate MEMBER --force."},
	ReasonRevoking:      {"Nobody leads and commits may rest on this standby, so it stops taking WAL and promises never to take any of the last primary's term again; only then does its position count.", nothing},
	ReasonTooFewReports: {"Nobody leads, and too few of the copies that acknowledged commits may rest on have promised and reported, so one of the absent may have what nobody else has.", "Bring up the members the detail names; only if what they have may be lost, pgkeeper failover --candidate MEMBER --force."},
	ReasonReadingOwnWAL: {"Nobody leads, and this standby was started a moment ago: it has yet to read the WAL in its own directory, so that nobody knows how much it has.", "It ends when that is replayed. If replay is paused or delayed (recovery_min_apply_delay), resume it; only if what it has may be lost, pgkeeper failover --candidate MEMBER --force."},
	ReasonPromisedAway:  {"The leader goes on under a term that this member has promised to take no WAL of.", "It ends within a second: the leader puts its key again, which is a new term."},
	ReasonNewTerm:       {"Members have promised to take no WAL of this primary's term, while it was silent, so it goes on under a new one.", nothing},
	ReasonHolderGone:    {"No WAL comes from the primary, and neither its agent nor its server answers this member; once most members find the same, they replace it without waiting for its lease.", "If it lasts, this member alone cannot reach the primary: look at the network between them."},
	ReasonRecordingRule: {"Before its promotion this member records which standbys its commits will wait for.", "It ends when etcd answers."},

	// failsafe.go
	ReasonFailsafe:   {"etcd cannot be written, and so many members have promised this primary not to replace it that it goes on without the lease.", "Restore etcd: failsafe ends with the first renewal; until then nothing that needs etcd is done."},
	ReasonReclaiming: {"The lease ran out while the primary went on by its members' promises, and it takes the key anew without being stopped.", nothing},
	ReasonPledged:    {"This member has promised a primary that cannot reach etcd not to replace it, so it takes no part in a race until the promise ends.", "Nothing to do: it ends one ttl after that primary asked last."},
	ReasonResuming:   {"This member's worker was replaced while etcd cannot be read; the one before it led, and it goes on under that term by asking the members.", "Restore etcd: the key is put again as soon as it can be written."},
	ReasonNotListed:  {"This member is not in the list of failsafe members, so the last primary may go on without its promise.", "Bring the members that are listed in the key failsafe back: one of them takes the lease, or, when all are there and none can, any other does. If the old primary is dead for certain, fail over with --force."},

	// follow.go
	ReasonFollowing:       {"This member is a standby and streams.", nothing},
	ReasonRepointing:      {"This standby is pointed at the member it must stream from.", nothing},
	ReasonNotStreaming:    {"This standby is pointed the right way but receives nothing, so its relation to the leader is looked into.", "If it lasts, look at the server's log: pg_hba, credentials, a missing slot, WAL that is gone."},
	ReasonReplayStopped:   {"This standby replays no more, since the primary allows more of something (connections, ...) than it does; it is restarted with what the primary has.", nothing},
	ReasonDiverged:        {"This standby has WAL that is not part of the leader's history, so it is rewound or cloned.", nothing},
	ReasonRejoining:       {"This member's stopped server is compared with the leader and brought back as a standby, by rewind or clone if it must.", nothing},
	ReasonCloning:         {"This member has no usable data and copies it from the leader.", nothing},
	ReasonStartingStandby: {"This member's server is being started as a standby.", "If it lasts, look at the server's log."},
	ReasonLeaderNotReady:  {"There is a leader, but it is not a running primary with a known address yet.", "It ends when the leader is up; look there."},
	ReasonDataBroken:      {"The data directory has entries but is no PostgreSQL data directory, so it is not touched.", "Empty it or correct data_dir."},
	ReasonDataDamaged:     {"Nobody leads, and a rewind or clone was interrupted in this data directory. It may be the only copy, so no new cluster is founded over it.", "Bring up a member whose data is whole. Else restore the data, and then remove the file tombstone in the state directory; or move the data directory away to begin anew."},

	// requests.go
	ReasonRestarting:    {"The server is restarted because an operator asked for it.", nothing},
	ReasonReinitialize:  {"The data directory is built anew because an operator asked for it.", nothing},
	ReasonRequestRefuse: {"An operator's request was refused, and nothing was tried.", "Follow the detail."},
	ReasonReloading:     {"The configuration is reloaded because an operator asked for it.", nothing},

	// The job slot.
	reasonOfJob(JobInitDB):  {"initdb runs, or `bootstrap.post_bootstrap` after it.", nothing},
	reasonOfJob(JobStart):   {"The server is being started; a crash recovery can take long.", "If it lasts, look at the server's log."},
	reasonOfJob(JobStop):    {"The server is being stopped.", "If it lasts, look for a process that hangs in the kernel."},
	reasonOfJob(JobPromote): {"The server is being promoted.", nothing},
	reasonOfJob(JobRejoin):  {"The data is compared with the leader's, and rewound or cloned if it must be.", nothing},
	reasonOfJob(JobClone):   {"The data is copied from the leader.", "Nothing to do; pgkeeper list shows how far it is."},
	reasonOfJob(JobRestart): {"The server is being restarted.", nothing},
	reasonOfJob(JobAside):   {"The data directory is moved aside.", nothing},
}

// Explain says a reason in two sentences: what is the case, and what would have to
// change or what to do.
func Explain(r cluster.Reason) string {
	if e, ok := explanations[r]; ok {
		return e.why + " " + e.next
	}
	if job, ok := strings.CutPrefix(string(r), reasonJobPrefix); ok {
		return "The job " + job + " runs. Nothing to do."
	}
	return "This version does not know the reason " + string(r) + ". Ask the member that gave it: it may run a newer one."
}
