package postgres

import (
	"strings"
	"testing"
)

// seeds are names that break what is not quoted.
func seeds(f *testing.F) {
	for _, s := range []string{"", "plain", `a'b`, `a"b`, `a\b`, `\'`, "a\nb", "a b=c", "$1", "%s", "ü", "host=x", "'", `\`, "a\x00b", "\xff"} {
		f.Add(s)
	}
}

func FuzzConninfoValuesAreReadAsTheyWereWritten(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, value string) {
		text := conninfo([]keyword{{"user", value}, {"host", "h"}})
		settings := parseConninfo(text)
		want := []keyword{{"user", value}, {"host", "h"}}
		if value == "" {
			want = want[1:]
		}
		if len(settings) != len(want) || settings[0] != want[0] {
			t.Errorf("%q is read from %s as %q", value, text, settings)
		}
	})
}

func FuzzAQuotedConfigurationValueIsOneLineAndOneValue(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, value string) {
		text := quoteConf(value)
		if strings.ContainsAny(text, "\r\n") {
			t.Fatalf("%q breaks the line", text)
		}
		inside := strings.NewReplacer(`\\`, "", `\n`, "", `\r`, "", `''`, "").Replace(text[1 : len(text)-1])
		if strings.ContainsAny(inside, `'\`) {
			t.Errorf("%q ends early: %s", value, text)
		}
	})
}

func FuzzAQuotedNameOrTextIsOneTokenOfSQL(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, value string) {
		ident := quoteIdent(value)
		if strings.Contains(strings.ReplaceAll(ident[1:len(ident)-1], `""`, ""), `"`) {
			t.Errorf("%q ends early: %s", value, ident)
		}
		hba := quoteHBA(value)
		if strings.Contains(strings.ReplaceAll(hba[1:len(hba)-1], `""`, ""), `"`) {
			t.Errorf("%q ends early: %s", value, hba)
		}
		literal := strings.TrimPrefix(quoteLiteral(value), " E")
		inside := strings.ReplaceAll(literal[1:len(literal)-1], `''`, "")
		if strings.Contains(value, `\`) {
			inside = strings.ReplaceAll(inside, `\\`, "")
		}
		if strings.ContainsAny(inside, `'\`) {
			t.Errorf("%q ends early: %s", value, literal)
		}
	})
}

func FuzzALineOfAPasswordFileHasFiveFields(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, value string) {
		line := string(passLine(Credentials{Username: value, Password: value}))
		plain := strings.NewReplacer(`\\`, "", `\:`, "").Replace(strings.TrimSuffix(line, "\n"))
		if got := strings.Count(plain, ":"); got != 4 {
			t.Errorf("%q gives %d fields: %q", value, got+1, line)
		}
	})
}
