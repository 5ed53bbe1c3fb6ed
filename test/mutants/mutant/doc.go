// Package mutant is the switch inside mutated source: the rewritten copies that
// test/mutants compiles ask it whether their guard is taken out.
//
// It promises that with no mutant chosen every function gives back what it was
// given and calls what it was handed, so that the rewritten program is the
// product. Exactly one mutant is chosen, by the environment, once at the start of
// the process.
//
// The product never imports it: only rewritten copies do, which exist for the
// compiler alone (go build -overlay).
package mutant
