// Package supervisor is the main process of the agent: it starts the worker and
// the guard, restarts whichever dies, and passes signals on.
//
// What it promises:
//   - It may be PID 1: it reaps every child, its own or inherited.
//   - A worker that dies is started again at once; only after five quick deaths in
//     a row it waits, at most two seconds.
//   - There is one agent per runtime directory: the second one is refused, and a
//     worker left behind by a supervisor that was killed is replaced.
//   - A guard that runs is never started twice, and never ended: it outlives the
//     supervisor.
//   - USR2 replaces supervisor and worker by the binary on disk, under the same
//     pid, with guard and server untouched. A binary that cannot be executed
//     changes nothing.
//
// What it does not promise: safety. Nothing in the safety argument depends on this
// process; it may be killed or frozen at any time.
//
// Signals to the supervisor: TERM and INT ask the worker to hand over and stop,
// a second one asks it (by INT) to stop at once, a third one kills it; HUP
// reloads; USR2 upgrades. Signals to the worker: TERM hand over and stop, INT stop
// at once, HUP reload, USR2 exit with 0 and leave guard and server as they are.
package supervisor
