// Package pgfake is a model of PostgreSQL servers: their data directories, their
// write-ahead logs and their processes as data, for the simulator.
//
// It promises:
//   - What agent.Node and the guard see of a server is what the real one would
//     show them, its traps included (SAFETY section 8). Each trap can be taken
//     away by a field of Traps, to prove that a test relies on it.
//   - Determinism: the same calls with the same times give the same answers. It
//     reads no clock, starts no goroutine, does no I/O, and draws no number that
//     Site.Jitter did not give.
//   - Little work: a log is a position on a tree of branches. Streaming moves
//     positions, and no record is ever copied.
//
// Time is the world's, one for all members, and is passed in. Whoever changes
// the world (a partition, a power cut, a frozen machine) calls Site.Advance
// before, so that what was on its way until then arrives.
//
// It does not promise the content of tables, SQL, tablespaces, logical
// replication or archive recovery. What traps 15 (clocks) and 20 (prepared
// transactions, sequences) do to users is documented elsewhere and not modelled.
package pgfake
