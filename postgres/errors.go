package postgres

import "errors"

// What went wrong, for callers to tell apart with errors.Is. The error that
// wraps one says where and what to do.
var (
	// ErrMissingBinary: a program of PostgreSQL is not in Options.BinDir.
	ErrMissingBinary = errors.New("program of PostgreSQL not found")
	// ErrVersion: PostgreSQL older or newer than this package knows, or binaries
	// of another major version than the data directory.
	ErrVersion = errors.New("PostgreSQL version not usable")
	// ErrOptions: Options contradict themselves.
	ErrOptions = errors.New("postgres options not usable")
	// ErrNotEmpty: the data directory holds something and must not be overwritten.
	ErrNotEmpty = errors.New("data directory is not empty")
	// ErrBusy: another initdb, clone or rewind works on the data directory.
	ErrBusy = errors.New("data directory is being worked on")
	// ErrUnfinished: an initdb, clone or rewind was interrupted in the data directory.
	ErrUnfinished = errors.New("data directory is unfinished")
	// ErrControl: pg_control cannot be read or is damaged.
	ErrControl = errors.New("pg_control not usable")
	// ErrUnreachable: no connection to a server.
	ErrUnreachable = errors.New("server not reachable")
	// ErrAuthentication: a server refused the user or the password.
	ErrAuthentication = errors.New("server refused the login")
	// ErrForeignServer: another server answers where ours should.
	ErrForeignServer = errors.New("another server answers")
	// ErrSourceNotReady: the source of a rewind must write a checkpoint first; try
	// again after it.
	ErrSourceNotReady = errors.New("source of the rewind is not ready")
	// ErrParameter: PostgreSQL does not accept a parameter.
	ErrParameter = errors.New("parameter not accepted by PostgreSQL")
	// ErrStandbySignal: standby.signal contradicts the start asked for.
	ErrStandbySignal = errors.New("standby.signal contradicts the start")
	// ErrRunning: the data directory belongs to a running server.
	ErrRunning = errors.New("a server runs in the data directory")
	// ErrPortInUse: the server's port is taken.
	ErrPortInUse = errors.New("port is in use")
	// ErrTimelineTaken: the wanted timeline number cannot be the next one.
	ErrTimelineTaken = errors.New("timeline number cannot be taken")
	// ErrNeedClone: a rewind cannot work; only a clone can.
	ErrNeedClone = errors.New("rewind is not possible, a clone is needed")
	// ErrDamaged: a rewind broke off after it had begun to change the directory.
	ErrDamaged = errors.New("data directory is damaged by an interrupted rewind")
	// ErrImmovable: the data directory, or a part of it elsewhere, is a mount point or
	// lies where it cannot be renamed.
	ErrImmovable = errors.New("the old data cannot be moved aside")
	// ErrNoRoom: the disk has no room for a clone, even without what is there.
	ErrNoRoom = errors.New("no room for a clone")
	// ErrNotGenerated: postgresql.conf was not written by this package yet.
	ErrNotGenerated = errors.New("postgresql.conf is not pgkeeper's")
)
