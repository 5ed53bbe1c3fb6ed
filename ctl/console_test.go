package ctl

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConfirmTakesOnlyYesForYes(t *testing.T) {
	for answer, want := range map[string]error{
		"y\n": nil, "YES\n": nil, "yes": nil, "n\n": ErrAborted, "\n": ErrAborted, "": ErrAborted, "yep\n": ErrAborted,
	} {
		c := &Console{In: strings.NewReader(answer), Out: io.Discard, Err: io.Discard}
		if err := c.Confirm("Really?"); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%q: got %v, want %v", answer, err, want)
		}
	}
}

func TestAskFallsBackOnAnEmptyAnswerAndFailsAtTheEnd(t *testing.T) {
	c := &Console{In: strings.NewReader("\npg3\n"), Out: io.Discard, Err: io.Discard}
	for _, want := range []string{"pg1", "pg3"} {
		if got, err := c.Ask("Primary", "pg1"); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := c.Ask("Primary", "pg1"); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("at the end of input: %v", err)
	}
}

func TestForceAsksNothing(t *testing.T) {
	var shown strings.Builder
	c := &Console{In: strings.NewReader(""), Out: &shown, Err: &shown, Force: true}
	got, err := c.Ask("Primary", "pg1")
	if err != nil || got != "pg1" || c.Confirm("Really?") != nil || shown.Len() > 0 {
		t.Errorf("got %q, %v, shown %q", got, err, shown.String())
	}
}
