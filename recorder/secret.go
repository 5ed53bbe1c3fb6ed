package recorder

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// absent are fields that are not recorded: they can hold secrets, or grow without
// bound, and Decide does not look at them (a test holds that it decides the same
// without).
var absent = map[reflect.Type][]string{
	reflect.TypeFor[cluster.PostgreSQLSettings](): {"Parameters", "PgHBA", "PgIdent", "RecoveryConf"},
	reflect.TypeFor[cluster.Settings]():           {"Slots", "IgnoreSlots"},
	reflect.TypeFor[cluster.Config]():             {"Raw"},
	reflect.TypeFor[cluster.View]():               {"Results", "Problems"},
	reflect.TypeFor[cluster.Member]():             {"PendingReason", "ScheduledRestart"},
	reflect.TypeFor[cluster.NodeState]():          {"PendingRestart"},
}

func leftOut(t reflect.Type, field string) bool { return slices.Contains(absent[t], field) }

// cleaners are fields of which only a part is recorded.
var cleaners = map[reflect.Type]map[string]func(string) string{
	reflect.TypeFor[cluster.Member]():    {"ConnURL": withoutUser, "APIURL": withoutUser, "ProxyURL": withoutUser},
	reflect.TypeFor[cluster.NodeState](): {"PrimaryConninfo": onlyTarget},
}

func cleaned(t reflect.Type, field string) (func(string) string, bool) {
	form, ok := cleaners[t][field]
	return form, ok
}

// withoutUser takes user and password out of a URL; what is none is not kept.
func withoutUser(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// onlyTarget keeps host and port of a conninfo.
func onlyTarget(s string) string {
	var kept []string
	for field := range strings.FieldsSeq(s) {
		if key, _, _ := strings.Cut(field, "="); key == "host" || key == "port" {
			kept = append(kept, field)
		}
	}
	return strings.Join(kept, " ")
}

// secrets in texts, such as the errors of programs that were given one: a
// password in a conninfo or a URL.
var secrets = []struct {
	hint    string
	pattern *regexp.Regexp
	instead string
}{
	{"pass", regexp.MustCompile(`(?i)(\b(?:ssl)?pass(?:word|wd)?\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|"[^"]*"?|[^\s'"]+)`), "${1}***"},
	{"secret", regexp.MustCompile(`(?i)(\b\w*secret\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|[^\s'"]+)`), "${1}***"},
	{"://", regexp.MustCompile(`(://[^/\s:@]*):[^/\s]*@`), "${1}:***@"},
}

// clean takes secrets out of a text. Most texts have none, and are told by a
// cheap look.
func clean(s string) string {
	if len(s) < len("pass=x") || !strings.ContainsAny(s, "=:") {
		return s
	}
	lower := strings.ToLower(s)
	for _, c := range secrets {
		if strings.Contains(lower, c.hint) {
			s = c.pattern.ReplaceAllString(s, c.instead)
		}
	}
	return s
}
