package dcs

import "context"

type repeatableKey struct{}

// Repeatable marks the transactions made with ctx as harmless when they are
// applied twice, even later than newer ones. A KV may then send one again to
// another member of the store when the first answer is slow or lost, instead of
// reporting ErrUnknownOutcome. A beat is such: late ones only make candidates
// wait. A key that says how things stand is not, an old value would come back.
func Repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatableKey{}, true)
}

// IsRepeatable reports whether ctx carries the mark.
func IsRepeatable(ctx context.Context) bool {
	marked, _ := ctx.Value(repeatableKey{}).(bool)
	return marked
}
