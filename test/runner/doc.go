// Command runner is what `make test` calls: it runs the parts of the test suite in order, says what each one took, and
// ends with one line, "N passed, N failed, N skipped".
//
// It promises that nothing is swallowed: a test that did not finish (panic, timeout, exit), a package that did not
// build and a part that could not start each count as failed and show their output; a failed test is never run again.
// What failed is named once more after the table of parts, each with the first that it said, at most ten lines: a
// record that keeps only the end of the output has the reasons. Before a long output they stand too.
// With CI=true a skipped test that is not listed in test/skips.txt counts as failed too.
//
// A test and each of its subtests count as one each; so does every part that is a single check (deps, build, lint).
// A package with files behind the integration tag runs twice, once plainly in the unit part and once in the
// integration part, and its tests count twice: they are two runs. The second has the race detector in it, in
// test/integration in the agents that it starts.
//
// Parts that need a processor and have time (the linter, the simulated schedules, the containers) run beside the parts
// after them at the lowest priority, since those mostly wait. They are heard when they end, as a whole. With PARTS=sim such
// a part is one like any other.
//
// It does not promise to know a flaky test from a broken one, and it does not limit what a test may use.
package main
