// Package dcstest is the conformance suite of dcs.KV and of the lease protocol
// on top of it. It runs on the memory twin and on real etcd, so that what is
// proved on the twin holds for etcd too.
//
// It promises that each comparison of the protocol has a case that fails when
// the comparison is gone. It does not cover lost answers and other faults, which
// only the twin can produce on purpose; dcs/memory tests those.
package dcstest
