// Package probe asks, from a process of its own, whether a server and its disks still
// answer: it opens connections and asks a query, and writes and syncs a small file in
// the data volume, in that of the WAL and in those of tablespaces.
//
// It promises that whatever hangs, be it the server or a write in the kernel, hangs
// here: the checks run beside each other, each with a deadline, and what it says is said
// while they hang. It promises that one that was stopped itself, or starved, does not
// take that for a failure of what it waited for. It touches nothing that PostgreSQL,
// pg_basebackup or pg_rewind look at: its files are temporary files by their names.
//
// It concludes nothing. How many failures are an ailment, and what is done then, is for
// package election to say.
package probe
