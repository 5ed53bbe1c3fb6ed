package mutant

import (
	"os"
	"strings"
)

// Env names the variable that chooses the mutant: "guard/change".
const Env = "PGKEEPER_MUTANT"

// The changes.
const (
	// Never makes a condition false.
	Never = "never"
	// Always makes a condition true.
	Always = "always"
	// Without leaves a statement or a call out, or replaces a value by its zero.
	Without = "without"
	// Part and a number leave one operand of a condition out.
	Part = "part"
)

// chosen and change are one mutant; both empty when there is none.
var chosen, change = parse(os.Getenv(Env))

func parse(text string) (guard, what string) {
	guard, what, _ = strings.Cut(text, "/")
	return guard, what
}

// Cond is the condition c of guard, unless the mutant fixes it. c was evaluated,
// so what it does besides is done either way.
func Cond(guard string, c bool) bool {
	if reached != nil {
		reached.note(guard, map[bool]string{true: Never, false: Always}[c])
	}
	if guard != chosen || change != Always && change != Never {
		return c
	}
	return change == Always
}

// Forgets says whether the mutant is the one named part of guard, whose operand is
// then not even evaluated.
func Forgets(guard, part string) bool { return guard == chosen && part == change }

// Out says whether guard is taken out: its statement is then skipped.
func Out(guard string) bool {
	if reached != nil {
		reached.note(guard, Without)
	}
	return guard == chosen
}

// Zero is v, or the zero value when guard is taken out. A zero dcs.Compare holds
// for every store: it compares the revision of a key that nobody writes.
func Zero[T any](guard string, v T) T {
	if Out(guard) {
		var none T
		return none
	}
	return v
}

// Call is the result of f, which is not called when guard is taken out.
func Call[T any](guard string, f func() T) T {
	if Out(guard) {
		var none T
		return none
	}
	return f()
}

// Pair is what a call with two results gave.
type Pair[A, B any] struct {
	a A
	b B
}

// Two takes both results of a call.
func Two[A, B any](a A, b B) Pair[A, B] { return Pair[A, B]{a, b} }

// Zero is the two results, or their zero values when guard is taken out: the call
// was made and its failure is not looked at.
func (p Pair[A, B]) Zero(guard string) (A, B) {
	return Zero(guard, p.a), Zero(guard, p.b)
}
