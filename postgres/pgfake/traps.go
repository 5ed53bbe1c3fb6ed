package pgfake

// Traps says which traps of SAFETY section 8 are taken away. The zero value has
// them all. Numbers are the section's.
type Traps struct {
	// NoCancelledWait (1): a cancelled wait for synchronous standbys goes on
	// waiting, instead of returning success with a warning.
	NoCancelledWait bool
	// NoReleaseOnEmpty (2): emptying synchronous_standby_names leaves commits
	// waiting, instead of releasing them.
	NoReleaseOnEmpty bool
	// NoEarlyShip (3): standbys keep nothing that was not acknowledged.
	NoEarlyShip bool
	// NoScatter (4): ANY k is confirmed by the first k names of the list.
	NoScatter bool
	// NoReceiveReset (5): the receive position of a standby survives its restart.
	NoReceiveReset bool
	// NoShorterTimeline (6): a standby that is past the point where a newer
	// timeline began follows it all the same.
	NoShorterTimeline bool
	// NoSameNumber (6): a promotion never takes a number that anybody took.
	NoSameNumber bool
	// NoWeakCommit (7): synchronous_commit cannot be weakened by a session.
	NoWeakCommit bool
	// NoUnackedVisible (8): crash recovery hides what was not acknowledged.
	NoUnackedVisible bool
	// NoStopWaits (9): a fast stop waits for neither walsenders nor archiver.
	NoStopWaits bool
	// NoRewindNeeds (10): a rewind needs neither hint bits or checksums nor WAL.
	NoRewindNeeds bool
	// NoRewindCheckpoint (10): a rewind needs no checkpoint at its source.
	NoRewindCheckpoint bool
	// NoRewindRuin (10): an interrupted rewind leaves the directory as it was.
	NoRewindRuin bool
	// NoWALRemoval (11): checkpoints remove no WAL.
	NoWALRemoval bool
	// NoStuckReceiver (12): a receiver notices at once that its host is dead.
	NoStuckReceiver bool
	// NoArchiveClash (13): the archive takes a segment from two nodes.
	NoArchiveClash bool
	// NoReplayLag (14): everything is replayed as soon as it is received.
	NoReplayLag bool
	// NoOwnSystem (16): every initdb makes the same system identifier.
	NoOwnSystem bool
	// NoKernelStuck (17): no backend survives SIGKILL.
	NoKernelStuck bool
	// NoExhaustion (18): there is always a connection left.
	NoExhaustion bool
	// NoParameterPause (19): a parameter raised on the primary does not stop the
	// replay of a smaller standby.
	NoParameterPause bool
	// NoBusyCheckpointer (22): a checkpointer reads the names in the middle of a checkpoint.
	NoBusyCheckpointer bool
	// NoFalseStandby (21): a clone's receiver confirms nothing.
	NoFalseStandby bool
}
