// Package compose runs deploy/compose on a container engine, under a name, ports and passwords of its own, for what
// watches it from outside: the tests of test/containers, and the bench.
//
// It promises that the files are those that a user gets, that every secret is changed as he is told to, and that Down
// leaves no container, network or volume behind. It does not promise an engine: Program says what is missing.
package compose
