package config

import (
	"errors"
	"slices"
	"testing"
)

func TestACommandIsSplitAsAShellWould(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                   nil,
		"/bin/roles":                         {"/bin/roles"},
		"  roles \t --db  app \n":            {"roles", "--db", "app"},
		`sh -c 'psql "$1" -c "select 1"' --`: {"sh", "-c", `psql "$1" -c "select 1"`, "--"},
		`a "b \"c\" \\ \d $e" f\ g`:          {"a", `b "c" \ \d $e`, "f g"},
		`a '' ""b`:                           {"a", "", "b"},
		`'back\slash'`:                       {`back\slash`},
	} {
		if got, err := splitCommand(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]error{`roles 'a`: errOpenQuote, `roles "a\"`: errOpenQuote, `roles \`: errOpenSlash} {
		if _, err := splitCommand(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}
