// Package pgbouncer drives the PgBouncer beside a member: its databases follow the
// primary and the replicas, and its clients wait through a switchover or a failover
// instead of losing transactions.
//
// It promises that the file of databases is replaced as a whole and names only members
// that the store shows; that what was paused is resumed, at the latest when max_hold has
// passed: by the driver, and by a process of its own when the driver's dies (a dead
// man's switch); that new work is let through to a primary only after the file that
// names it has been loaded; and that a console that does not answer is said and tried
// again, and holds up nothing but this driver.
//
// It does not promise that no transaction is ever lost: one that runs longer than
// pause_timeout when a switchover begins ends with the old primary, and so do those that
// run when a primary dies. Pools in session mode have no moment between two transactions
// at which they could be paused. It decides nothing for the cluster: a member says in its
// key what its pooler does, and the holder of the lease waits for that a bounded time.
package pgbouncer
