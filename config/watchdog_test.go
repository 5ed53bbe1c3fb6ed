package config

import (
	"testing"
	"time"
)

func TestASafetyMarginMayBeMinusOne(t *testing.T) {
	for text, want := range map[string]time.Duration{"-1": -1, "5": 5 * time.Second, "500ms": 500 * time.Millisecond, "0": 0} {
		if got, err := (minusOne{}).parse(text); err != nil || got != want {
			t.Errorf("%s gives %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-2", "-1s", "x"} {
		if _, err := (minusOne{}).parse(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
