// Package chaos breaks real clusters at random and judges what their clients saw.
//
// A schedule is one cluster: three nodes with real PostgreSQL and three members of
// the distribution's etcd, each in a network namespace and on a file system of its
// own. Faults are drawn from a seed: processes killed and frozen, links cut one or
// both ways, slowed and made lossy, etcd's members, leader and quorum killed, its
// leader's disk frozen, a node's disk filled or frozen, and switchovers under all of
// it. Schedules take turns between the modes of durability: asynchronous without and
// with the commit gate, synchronous and quorum; two of three have failsafe mode, as the
// clusters that pgkeeper creates. Meanwhile clients write registers and lists, and a
// watcher writes to every node every 10 ms.
//
// It promises to fail when a server of an older term acknowledges a write that was
// begun after a newer term acknowledged one; when an acknowledged write is missing at
// the end that asynchronous replication was not allowed to lose, or any in a synchronous
// mode; when nobody can write although failsafe mode is on and a fault took etcd alone,
// of all nodes or of one; when a running server's directory has a tombstone; when a
// client's history is not linearizable (model.go says what that means where writes may
// be lost); when the healed cluster is not whole within a bound; and when a recorded decision
// is not the one that Decide takes on the recorded observation.
//
// It promises to leave nothing: all runs in network, mount, process and IPC
// namespaces that the kernel removes with the test's first process, however that
// ends. What a failed schedule leaves on purpose is its folder, which is printed.
//
// It does not promise that one seed gives one outcome: the schedule of faults is the
// same again, what real processes do with it is not. Without root it skips.
package chaos
