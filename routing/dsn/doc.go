// Package dsn writes connection strings: for one driver, to the members themselves or to HAProxy or PgBouncer in front of
// them, for writes or for reads.
//
// It promises that each has only options its driver knows, a port for every host, and a bound on how long a host that does
// not answer is waited for; and that what a driver cannot be told in the string comes as a note. It does not put a password
// into a string: those are printed, logged and shared.
package dsn
