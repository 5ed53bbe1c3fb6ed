// Package embedded runs etcd in this process, for the demo, for tests, and for
// installations small enough to do without an etcd of their own.
//
// It promises a real etcd: same protocol, same durability (unless UnsafeNoFsync
// asks otherwise), quiet logs, bounded history and size. It does not promise the
// independence of separate processes: a member here dies with its host, and
// Close is an orderly stop that hands etcd's leadership over first. Whoever wants
// to see an etcd killed starts one as a process.
package embedded
