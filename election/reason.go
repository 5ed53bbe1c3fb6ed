package election

import "github.com/pgkeeper/pgkeeper/cluster"

// The reasons, one per branch. They are an interface: operators grep for them,
// alerts and the runbook are keyed by them.
const (
	// fence.go, inherit.go, blind.go, paused.go
	ReasonSettling         cluster.Reason = "settling_unknown_outcome"
	ReasonLeaseLost        cluster.Reason = "lease_lost"
	ReasonDeadlinePassed   cluster.Reason = "deadline_passed"
	ReasonForeignSystem    cluster.Reason = "foreign_system_identifier"
	ReasonFenceNoLease     cluster.Reason = "fence_writable_without_lease"
	ReasonAdoptPrimary     cluster.Reason = "adopting_running_primary"
	ReasonGuardFrozen      cluster.Reason = "guard_frozen"
	ReasonForeignHolder    cluster.Reason = "foreign_holder_with_my_name"
	ReasonStoreRefused     cluster.Reason = "store_refused"
	ReasonStoppingAgent    cluster.Reason = "stopping_agent"
	ReasonStopped          cluster.Reason = "agent_may_exit"
	ReasonPausedLeading    cluster.Reason = "paused_leading"
	ReasonPaused           cluster.Reason = "paused"
	ReasonPausedNoPrimary  cluster.Reason = "paused_holder_without_primary"
	ReasonPausedElsewhere  cluster.Reason = "paused_primary_elsewhere"
	ReasonWaitingForStore  cluster.Reason = "waiting_for_dcs"
	ReasonWaitingForGuard  cluster.Reason = "waiting_for_guard"
	ReasonServerUnknown    cluster.Reason = "server_unknown"
	ReasonStandbyWithoutDC cluster.Reason = "starting_standby_without_dcs"
	ReasonBackingOff       cluster.Reason = "backing_off"

	// bootstrap.go
	ReasonClaiming         cluster.Reason = "claiming_initialize"
	ReasonInitDB           cluster.Reason = "initialising_cluster"
	ReasonFinishing        cluster.Reason = "finishing_bootstrap"
	ReasonAbandoning       cluster.Reason = "abandoning_bootstrap"
	ReasonWaitingBootstrap cluster.Reason = "waiting_for_bootstrap"
	ReasonRecordSystem     cluster.Reason = "recording_existing_system_identifier"
	ReasonWaitingForData   cluster.Reason = "waiting_for_leader_to_clone"

	// holder.go
	ReasonLeading           cluster.Reason = "leading"
	ReasonReserving         cluster.Reason = "reserving_timeline"
	ReasonPromoting         cluster.Reason = "promoting"
	ReasonPromotionFails    cluster.Reason = "promotion_fails"
	ReasonForeignTimeline   cluster.Reason = "primary_on_foreign_timeline"
	ReasonRestartCrashed    cluster.Reason = "restarting_after_crash"
	ReasonStartToPromote    cluster.Reason = "starting_to_promote"
	ReasonHolderWaits       cluster.Reason = "waiting_for_own_server"
	ReasonHolderNoData      cluster.Reason = "holder_without_data"
	ReasonReleasing         cluster.Reason = "releasing"
	ReasonInheriting        cluster.Reason = "inheriting_lease"
	ReasonAcceptingHandover cluster.Reason = "accepting_hand_over"

	// sick.go
	ReasonGivingUp      cluster.Reason = "giving_up_sick_server"
	ReasonSickCandidate cluster.Reason = "not_a_candidate_sick"

	// switchover.go
	ReasonSwitchoverRefused   cluster.Reason = "switchover_refused"
	ReasonSwitchoverPreparing cluster.Reason = "switchover_preparing"
	ReasonSwitchoverHolding   cluster.Reason = "switchover_holding"
	ReasonSwitchoverStopping  cluster.Reason = "switchover_stopping"
	ReasonSwitchoverConfirm   cluster.Reason = "switchover_waiting_for_confirmation"
	ReasonHandingOver         cluster.Reason = "handing_over"
	ReasonSwitchoverAborted   cluster.Reason = "switchover_rolled_back"
	ReasonCandidatePreparing  cluster.Reason = "candidate_preparing"
	ReasonCandidateReady      cluster.Reason = "candidate_ready"
	ReasonCandidateConfirms   cluster.Reason = "candidate_confirms"

	// race.go
	ReasonNoFailover      cluster.Reason = "not_a_candidate_nofailover"
	ReasonNoWatchdog      cluster.Reason = "not_a_candidate_watchdog"
	ReasonNotHealthy      cluster.Reason = "not_a_candidate_no_server"
	ReasonTooFarBehind    cluster.Reason = "not_a_candidate_behind"
	ReasonOldTimeline     cluster.Reason = "not_a_candidate_old_timeline"
	ReasonWaitingForLease cluster.Reason = "waiting_for_lease_to_end"
	ReasonLooking         cluster.Reason = "looking_before_the_race"
	ReasonCollecting      cluster.Reason = "collecting_reports"
	ReasonBetterCandidate cluster.Reason = "better_candidate"
	ReasonNamedCandidate  cluster.Reason = "waiting_for_named_candidate"
	ReasonAcquiring       cluster.Reason = "acquiring_lease"
	ReasonStartToRace     cluster.Reason = "starting_standby_to_race"

	// synchronous.go, revoke.go, patroni.go
	ReasonNotListedSync cluster.Reason = "not_a_candidate_sync"
	ReasonRevoking      cluster.Reason = "promising_to_follow_no_more"
	ReasonTooFewReports cluster.Reason = "too_few_promises"
	ReasonPromisedAway  cluster.Reason = "leader_was_revoked"
	// ReasonReadingOwnWAL: nobody knows yet how far the WAL of this standby reaches.
	ReasonReadingOwnWAL cluster.Reason = "reading_own_wal"
	ReasonNewTerm       cluster.Reason = "renewing_revoked_term"
	ReasonRecordingRule cluster.Reason = "recording_rule_before_promotion"

	// gone.go
	ReasonHolderGone cluster.Reason = "holder_gone"

	// failsafe.go
	ReasonFailsafe   cluster.Reason = "leading_by_failsafe"
	ReasonReclaiming cluster.Reason = "reclaiming_lease_after_failsafe"
	ReasonPledged    cluster.Reason = "promised_failsafe"
	ReasonResuming   cluster.Reason = "resuming_term"
	ReasonNotListed  cluster.Reason = "not_a_candidate_failsafe"

	// follow.go
	ReasonFollowing       cluster.Reason = "following"
	ReasonRepointing      cluster.Reason = "repointing"
	ReasonNotStreaming    cluster.Reason = "not_streaming"
	ReasonReplayStopped   cluster.Reason = "replay_stopped"
	ReasonDiverged        cluster.Reason = "diverged_from_leader"
	ReasonRejoining       cluster.Reason = "rejoining"
	ReasonCloning         cluster.Reason = "cloning"
	ReasonStartingStandby cluster.Reason = "starting_standby"
	ReasonLeaderNotReady  cluster.Reason = "leader_not_ready"
	ReasonDataBroken      cluster.Reason = "data_directory_broken"
	ReasonDataDamaged     cluster.Reason = "data_directory_damaged"

	// requests.go
	ReasonRestarting    cluster.Reason = "restarting_on_request"
	ReasonReinitialize  cluster.Reason = "reinitializing_on_request"
	ReasonRequestRefuse cluster.Reason = "request_refused"
	ReasonReloading     cluster.Reason = "reloading_on_request"

	reasonJobPrefix = "running_"
)

// reasonOfJob names the branch in which only a job's end is awaited.
func reasonOfJob(kind JobKind) cluster.Reason { return cluster.Reason(reasonJobPrefix + string(kind)) }
