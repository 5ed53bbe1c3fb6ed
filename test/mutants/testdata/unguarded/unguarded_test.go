package unguarded

import "testing"

func TestHalf(t *testing.T) {
	for n, want := range map[int]int{4: 2, 3: 0} {
		if got := Half(n); got != want {
			t.Errorf("half of %d is %d, want %d", n, got, want)
		}
	}
}
