// Package demo is the guided tour: a whole cluster on this machine, its primary
// killed, healed, moved and grown while a client writes.
//
// It promises that everything runs as a user would run it: one etcd (in the
// demo's own process), every node its own `pgkeeper agent` with its own
// configuration file, HAProxy with the shipped configuration where it is
// installed; that figures are measured by a client of PostgreSQL and nothing is
// staged; that every wait has a deadline, and a step that fails ends the tour
// with its reason, the last lines of the logs and the list; and that nothing
// survives it: no process even when the demo itself is killed (nodes hang on a
// pipe it holds, HAProxy on the kernel's parent-death signal), no file unless
// Keep.
//
// It does not promise durable data: nodes are stopped hard at the end.
package demo
