package cluster

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestLSNText(t *testing.T) {
	cases := []struct {
		text string
		want LSN
	}{
		{"0/0", 0},
		{"0/3000148", 0x3000148},
		{"16/B374D848", 0x16B374D848},
		{"16/b374d848", 0x16B374D848},
		{"FFFFFFFF/FFFFFFFF", math.MaxUint64},
		{"0/00000148", 0x148}, // zero-padded, as PostgreSQL 19 writes it
	}
	for _, c := range cases {
		got, err := ParseLSN(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseLSN(%q) = %v, %v; want %v", c.text, got, err, c.want)
		}
	}
	if got := LSN(0x16B374D848).String(); got != "16/B374D848" {
		t.Errorf("written as %q", got)
	}
}

func TestLSNRefusesOtherTexts(t *testing.T) {
	for _, text := range []string{"", "/", "0", "0/", "/0", "0/0/0", "-1/0", "+1/0", "0x1/0", "0/1_0", " 0/0", "0/0 ", "0/123456789", "g/0", "0/\u0660"} {
		if got, err := ParseLSN(text); err == nil {
			t.Errorf("ParseLSN(%q) = %v", text, got)
		} else if !strings.Contains(err.Error(), "parse lsn") {
			t.Errorf("ParseLSN(%q): %v does not say what was read", text, err)
		}
	}
}

func TestLSNDistance(t *testing.T) {
	if got := LSN(10).Behind(15); got != 5 {
		t.Errorf("10 is %d behind 15", got)
	}
	if got := LSN(15).Behind(10); got != 0 {
		t.Errorf("15 is %d behind 10: what is ahead is not behind", got)
	}
	if LSN(0).Known() || !LSN(1).Known() {
		t.Error("only 0/0 is unknown")
	}
}

// TestPositionOrder: a newer timeline wins over a longer log (trap 6).
func TestPositionOrder(t *testing.T) {
	sorted := []Position{{1, 100}, {1, 200}, {2, 50}, {2, 51}, {10, 0}}
	shuffled := []Position{{2, 51}, {10, 0}, {1, 200}, {2, 50}, {1, 100}}
	slices.SortFunc(shuffled, Position.Compare)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("sorted as %v", shuffled)
	}
	if sorted[0].Compare(sorted[0]) != 0 {
		t.Error("a position differs from itself")
	}
	if got := sorted[0].String(); got != "1@0/64" {
		t.Errorf("written as %q", got)
	}
}

func FuzzParseLSN(f *testing.F) {
	for _, s := range []string{"0/3000148", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/", "1/2/3", "-1/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLSN(s)
		if err != nil {
			return
		}
		if back, err := ParseLSN(l.String()); err != nil || back != l {
			t.Errorf("%q is %v, which reads back as %v (%v)", s, l, back, err)
		}
	})
}
