// Package dcs is the contract with the store that holds the cluster's state:
// the key-value primitives a store must offer (KV), the layout and codec of the
// keys, and the lease protocol of SAFETY section 2 on top of them, once for all
// stores.
//
// It promises that every write of a holder compares its term in the transaction
// that makes it; that a renewal is reported as counted only when a transaction
// under the term committed; that an outcome it could not learn is reported as
// ErrUnknownOutcome and never as failure; and that values written by Patroni are
// read and values Patroni reads are written in its form.
//
// It does not judge who should hold the lease (election) and keeps no clock:
// callers pass deadlines by context and take their own timestamps.
package dcs
