// Package election decides what one node must do, from one Observation.
//
// It promises that Decide is a function of data: same Observation, same
// Decision, on every machine. It has no clock, no context, no logger, no I/O, no
// goroutine, no randomness and no error; a test loads its imports and fails when
// it gains one that could bring any of them. Every branch returns one stable
// Reason and, where a person would ask "how far, how long", a Detail.
//
// It promises the order of the safety argument (decide.go): first what must be
// stopped, then what is not known, then who holds the lease.
//
// It does not promise that a decision takes effect, nor that an Observation is
// still true when it does: whoever executes a Decision must let the store and
// the guard refuse what is out of date. All safety rests on those refusals
// (SAFETY 2); a Decide that is wrong about the present costs time, never a
// second writable primary.
package election
