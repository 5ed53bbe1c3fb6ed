// Package agent is the loop: observe, decide, act, look again.
//
// It promises that Step is a function of its state and the event it is given: it
// starts no goroutine, reads no clock, never waits. A thin driver turns timers,
// watch events, process exits and finished effects into events, and runs the
// effects Step returns, each with a deadline, each reporting its end as an event.
// The lease is renewed by the loop only after it could see its own server, and
// counts from before the request left, on CLOCK_BOOTTIME. Every answer given to
// anybody else comes from the Status stored after each step.
//
// Effects run in lanes: lease (the leader key), keys (what a holder publishes),
// member (the member key and its lease), server (SQL), job (long work), look,
// guard. One effect of a lane runs at a time. A lane that is busy skips what it is
// given: decisions are level-triggered and come again.
//
// It does not promise safety by itself: a stale effect is refused by the store's
// term and the guard's deadline, not by the loop having been right.
package agent
