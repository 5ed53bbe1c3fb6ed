// Package sim is the simulator: whole clusters in virtual time under one seed.
//
// Every node runs the real agent.Loop with the real election.Decide, the real
// effects (agent.Node), the real lease protocol (dcs) on dcs/memory, and the real
// rules of the guard and of its gate. The world around them is a model: time, the network to etcd
// and between the servers, the processes that can be killed and frozen, the
// machine with its disk and its watchdog, and PostgreSQL; in some clusters Patroni too, which
// runs some of the nodes. After every step the invariants of the
// safety argument are checked, and after the faults have healed that the cluster
// comes back.
//
// It promises that one seed gives one run, byte for byte, on every machine: it is
// single-threaded, and neither the wall clock nor the order of a map reaches a
// decision.
//
// It does not show anything about what is modelled: sockets, signals, /proc,
// timerfd, watchdogs, PostgreSQL and Patroni themselves. Those are for the integration and chaos tests.
package sim
