// Package unguarded has two guards: one that its test misses when it is gone, and
// one that nobody tests. The tool must tell them apart.
package unguarded

// Half is n/2 for an even n above zero, and 0 for any other.
func Half(n int) int {
	if n%2 != 0 { // guard: odd_is_refused — the tests try an odd number
		return 0
	}
	if n < 0 { // guard: negative_is_refused — nobody tries a negative number
		return 0
	}
	return n / 2
}
