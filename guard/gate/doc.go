// Package gate confirms the commits of one PostgreSQL server, as long as the server's
// node holds the lease, and so keeps a node that is frozen or cut off from acknowledging
// anything past it.
//
// It connects to its own server as a physical streaming client under a name that is the
// only one in synchronous_standby_names, throws away what it is sent, and confirms
// positions at once. It runs as a process of its own, a child of the guard, from which
// it has the deadline as shared memory: package guard has the reasons.
//
// What it promises:
//   - No position is confirmed unless, after it was received and right before the
//     confirmation is given to the kernel, now < deadline on CLOCK_BOOTTIME.
//   - After a jump of the clocks against each other nothing is confirmed until a renewal
//     that was sent after the jump was seen.
//   - A connection that is lost is made again at once, from wherever the server is then:
//     nothing is stored, so nothing can be missing.
//
// What it does not promise:
//   - A confirmation decided before the deadline may reach the server, and the client,
//     after it: between the look at the clock and the kernel lie some ten nanoseconds in
//     which a process can be frozen.
//   - Sessions with synchronous_commit local or off do not wait for it.
package gate
