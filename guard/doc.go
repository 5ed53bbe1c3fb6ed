// Package guard is the parent of the postmaster and the holder of its deadline.
//
// It is the one process that a node's safety rests on, so it is small: one loop,
// no configuration file, no network but a unix socket.
//
// What it promises:
//   - A server that may write is stopped at its deadline (an instant on
//     CLOCK_BOOTTIME, which counts suspend), first by SIGQUIT, after a third of
//     the margin by SIGKILL, and the stop is proved: no process is left whose
//     working directory is the data directory.
//   - It promotes, or starts a server that may write, only while now < deadline
//     and under the term the deadline belongs to.
//   - A request of a worker that was replaced is refused, however late it comes.
//   - When the guard dies, the kernel sends SIGQUIT to the server it spawned.
//   - The end of a postmaster is reported only when no process of it is left.
//   - Where a kernel watchdog is set up it is armed before a server may write and fed by
//     renewals alone, before the deadline: a guard that hangs lets it reset the machine
//     before the lease can pass on. The guard feeds it, not the worker: it holds the
//     deadline, and a worker that hangs is fenced by that.
//
// What it does not promise:
//   - It cannot stop a process that is stuck in the kernel. It then says so
//     (Status.Server.Leftovers) and never reports the server as gone.
//   - It cannot give a server it adopted a parent-death signal; Status says so.
//   - It does not decide. Which deadline is right is the worker's arithmetic.
//   - Nothing it knows survives it: sessions and ended terms live in memory only,
//     and it is never re-executed.
//
// Session numbers and terms are chosen by the worker and must grow.
//
// The rules of the safety argument are marked in the source with comments of the
// form "guard: name — SAFETY 2 ...", one for each line whose removal breaks it.
package guard
