// Package testbed runs real clusters for tests and measurements: etcd (embedded,
// or the distribution's server as processes), and nodes that are real processes
// of `pgkeeper agent` with real PostgreSQL servers, on free ports of the loopback
// address, each in a folder of its own.
//
// It promises that a fault hits only processes of the node it names (each is
// recognised by its folder, and signalled by pidfd); that every wait has a
// deadline and says what it waited for; that nothing survives: nodes hang on a
// pipe held by the starter, so that even a killed test run leaves none, and Close
// fails when a process or the folder is left. It imports no testing package: the
// thin wrapper for tests is bedtest.
//
// Three observers look at a cluster as its clients do. Writer inserts a numbered
// row every 5 ms, whatever became of the one before, and measures gaps; Verify
// looks for every row it was promised; Watcher writes to every node at once, and
// measures how long two of them accepted writes.
//
// It does not promise durable data: fsync is off unless asked for.
package testbed
