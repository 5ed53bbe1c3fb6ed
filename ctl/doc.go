// Package ctl is what the operator's verbs do: look at a cluster, change its
// configuration, move its primary, restart, rebuild and query its members.
//
// It promises that a verb means the same whether it reaches the cluster through
// the store or through the REST API of one agent (interface Cluster, with an
// implementation for each); that nil means it happened, ErrAborted that the
// operator said no, and any other error is one line that says what happened,
// where, and what to do; and that nothing is asked when Console.Force is set.
//
// It does not parse flags, choose exit codes or read configuration files
// (cmd/pgkeeper), and it never touches a server behind its agent's back: a
// request goes through the store and the agent's loop, also when it arrives by
// HTTP. The one exception is query, which is a client of PostgreSQL.
package ctl
