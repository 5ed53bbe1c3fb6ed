package postgres

import (
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
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

func FuzzAConfiguredParameterIsOneLineOfItsOwnName(f *testing.F) {
	for _, s := range []string{"", "plain", "a.b", "a\nb", "a = 1\nport", "a=b", "a b", "#", "\u212aeep", "include", "PORT", "restore_command", "wal_keep_segments", "gate\n# commit gate\n", "a\x00b", "\xff"} {
		f.Add(s, s)
	}
	s := bare(f)
	had := map[string]bool{}
	for line := range strings.Lines(s.renderConf(ConfigSpec{Settings: cluster.DefaultSettings()})) {
		had[line] = true
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		for role, spec := range map[string]ConfigSpec{
			"shared":   {Settings: cluster.Settings{PostgreSQL: cluster.PostgreSQLSettings{Parameters: map[string]string{name: value}}}},
			"local":    {Local: map[string]string{name: value}},
			"recovery": {RecoveryConf: map[string]string{name: value}, RestoreCommand: true},
		} {
			fresh := 0
			for line := range strings.Lines(s.renderConf(spec)) {
				if had[line] {
					continue
				}
				fresh++
				set := parameterName.FindStringSubmatch(line)
				if set == nil || set[1] != strings.ToLower(name) && set[1] != "wal_keep_size" {
					t.Errorf("%s: %q = %q writes the line %q", role, name, value, line)
				}
			}
			if fresh > 1 {
				t.Errorf("%s: %q = %q writes %d lines", role, name, value, fresh)
			}
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
