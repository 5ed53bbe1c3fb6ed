// Command mutants takes out every guard of the safety argument, one at a time, and
// runs the tests against what is left: `make mutants`.
//
// A guard is what a comment "// guard: name" stands on. Its mutants are named
// guard/change: a condition is fixed to false (never) and to true (always), a
// statement, a checked call or one comparison of a transaction is left out
// (without). The marked files are copied, each guard in the copy asks a switch
// (package mutant), and `go test -c -overlay` compiles the copies in place of the
// originals: every test binary is built once, holds all mutants, and is told by
// the environment which one to be. The product's source and binary stay as they are.
//
// It promises that
//   - every mark is mutated: one that stands on something it cannot take out is an
//     error, never skipped;
//   - a mutant counts as caught only by a test that failed and has a name. One that
//     only hangs until the time is up is reported as such, and is not caught;
//   - the tests that docs/safety.md names for a guard run first, and it is reported
//     when they do not catch it although another test does;
//   - without a mutant every binary passes, or nothing is judged at all.
//
// With -parts each operand of a condition is forgotten instead, one at a time: what
// is then uncaught is a case worth writing, or an operand that another one implies.
// That is a tool for whoever works on a guard and no part of `make test`.
//
// With -sim each mutant is also given to the simulator (test/sim), for at most
// -sim-seeds schedules and -sim-time, and the schedules until it is caught are
// counted. The product runs them first and says which mutants would have changed which
// of them; no other schedule has to be run for a mutant. With -write the result becomes
// docs/mutants.md.
//
// It does not find guards that nobody marked, and it changes one guard at a time:
// what two guards hold together, and neither alone, it calls uncaught.
package main
