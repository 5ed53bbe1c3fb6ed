// Package postgres is the room of one local PostgreSQL server: looking at it,
// what a start needs, initdb, clone, rewind, following, settings, slots, and the
// facts a promotion or a shutdown rests on.
//
// It promises:
//   - A look is either good or an error. No question that failed is answered
//     with a default: a zero value in cluster.NodeState was really seen.
//   - No file is half written: everything is written beside, fsynced and
//     renamed. Files and child processes belong to the server's OS user; as root
//     the file system is entered with that user's rights, so that a link planted
//     in the data directory gains nothing.
//   - Long work (initdb, clone, rewind) leaves a tombstone in the state directory
//     from before its first change until its result is durable, holds a lock that
//     its children inherit, and ends with the agent.
//   - No password stands in an argument list, a log line or an error.
//
// It does not start, signal or stop the postmaster: that is the guard's alone,
// which gets a Start from here. It does not decide: whether a directory may be
// overwritten, who is followed and when a checkpoint is due is the caller's
// (election and agent). It keeps no clock; time comes in by Options.
//
// What differs between PostgreSQL 13 and 18 stands in one table, version.go.
package postgres
