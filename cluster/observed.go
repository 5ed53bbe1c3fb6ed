package cluster

import "time"

// Instant is a reading of CLOCK_BOOTTIME: time since this machine booted,
// suspend included. Instants of two machines, or of two boots, have nothing to
// do with each other. Zero means never.
type Instant int64

// Add moves an instant by d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub is the time from other to i.
func (i Instant) Sub(other Instant) time.Duration { return time.Duration(i - other) }

// Never reports whether the instant was never set.
func (i Instant) Never() bool { return i == 0 }

// Observed is a value somebody looked at, when, and what went wrong. "Could not
// look" (Err set) is never the same as "looked, and there is none" (Err empty,
// zero value): after a failure Value and At keep the last good look.
type Observed[T any] struct {
	Value T
	// At is when the last good look began; zero when there was none yet.
	At Instant
	// Err says why the newest look failed; empty when it succeeded.
	Err string
	// ErrAt is when the newest failed look began.
	ErrAt Instant
}

// Seen is a good look that began at at.
func Seen[T any](value T, at Instant) Observed[T] { return Observed[T]{Value: value, At: at} }

// Failed keeps the last good value and notes that a look begun at at failed.
func (o Observed[T]) Failed(why string, at Instant) Observed[T] {
	o.Err, o.ErrAt = why, at
	return o
}

// Good reports whether the newest look succeeded.
func (o *Observed[T]) Good() bool { return o.At != 0 && o.Err == "" }
