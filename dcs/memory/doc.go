// Package memory is the in-memory twin of an etcd cluster behind dcs.KV.
//
// Core is the store itself: synchronous, deterministic, without goroutines,
// channels, locks or a clock of its own. The simulator drives it directly, as
// data: Do(Call) Answer, and Events pulls what changed. Server puts a lock and
// watches around a Core, and Client is one named client of it, a dcs.KV with
// faults: requests lost before or after they were applied, applied late, delayed,
// cut off, or answered by an etcd leader that lost its cluster.
//
// It promises etcd's observable rules as far as pgkeeper rests on them; the
// suite in dcs/dcstest runs on both. It does not promise persistence, several
// versions of a key, or speed.
package memory
