// Package causal is a client that writes and at once reads what it wrote, through pgrw,
// while somebody moves and kills the primary under it. It counts reads that do not show
// the write: those that carry the write's token, of which there must be none, and those
// of a control without one, of which there must be some, or the run has proved nothing.
//
// It needs a cluster that loses no acknowledged write (synchronous_mode): what a
// failover loses looks stale to everybody for ever.
package causal
