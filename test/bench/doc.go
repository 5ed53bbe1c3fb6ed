// Package bench measures how long a cluster cannot be written to after each kind of failure, how fast it starts and
// answers, and what it costs when idle, side by side with Patroni from the distribution. `make bench` runs it; the code
// is behind the build tag bench.
//
// It promises that both systems are measured by the same client, on the same machine, in the same run, with fsync on,
// three nodes and three etcd servers of the distribution in processes of their own; that the client and the load
// generator are processes of their own too (writer, load); that every trial is kept as one line (report) with the load
// average it ran under; that a run which is broken off goes on where it was. Definitions:
//
//   - gap: the longest time without an acknowledged commit from the last one before the fault until writes have gone
//     through undisturbed for a while. A row is due every 5 ms; how late the latest came is told beside it. On a machine
//     too small for 200 commits a second BENCH_EVERY=20ms has fewer, which every trial says; counts of what was lost stay what
//     they are.
//   - 0: no failed statement, and no gap above max(100 ms, 1.5 x the longest in a minute of undisturbed writing at
//     the start of the same cluster).
//   - overlap: the time during which two servers both acknowledged writes of clients that are tied to one server each.
//   - beyond direct: the gap of a client through HAProxy less that of a direct client in the same trial.
//   - healthy: GET /primary is 200 on exactly one node and GET /replica on all others, and that primary sees them
//     stream. The clock starts with the first agent, etcd being up.
//   - etcd requests: messages that clients sent to etcd (grpc_server_msg_received_total over all members), which counts
//     each message on a stream; requests by etcd's HTTP gateway, which Patroni uses, pass through the same counter.
//
// The rows about a node that is cut off have a host for each node and each member of etcd: network namespaces, in which the
// bench runs itself once more, and which go with it. They need root; without it they are left out, which is said.
//
// A trial of a gap in which the machine itself stalled is made again, up to four times: a process that has nothing to do
// with any cluster writes to a file of its own and sleeps, and sees an fsync of over 150 ms or a wake-up over 100 ms late.
// So is one whose client still owed rows when it had long been writing again: a machine on which a row takes longer than
// the 5 ms after which the next is due, since something else takes its cores.
// Disturbed trials stay in the file, marked; they do not count.
//
// It does not promise that numbers of two machines compare, or those of a machine that was busy with other work.
package bench
