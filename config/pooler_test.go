package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestThePoolersSection(t *testing.T) {
	const good = "poolers: {pgbouncer: {admin: host=x user=keeper, databases_file: /etc/pgbouncer/k.ini, databases: [app, log]}}\n"
	c, _ := loaded(t, minimal+good)
	want := PgBouncer{Admin: "host=x user=keeper", DatabasesFile: "/etc/pgbouncer/k.ini", Databases: []string{"app", "log"}, ReadSuffix: "_ro", PauseTimeout: 2 * time.Second, MaxHold: 30 * time.Second}
	if diff := cmp.Diff(want, c.PgBouncer); diff != "" {
		t.Error(diff)
	}
	for text, why := range map[string]string{
		strings.Replace(good, "admin: host=x user=keeper, ", "", 1):             "poolers.pgbouncer.admin: is missing",
		strings.Replace(good, "/etc/pgbouncer/", "", 1):                         "must be an absolute path",
		strings.Replace(good, ", databases: [app, log]", "", 1):                 "poolers.pgbouncer.databases: is missing",
		strings.Replace(good, "[app, log]", `["a b"]`, 1):                       `is no name that PgBouncer's files can have`,
		strings.Replace(good, "[app, log]", "[app], pause_timeout: 5", 1):       "at most 4s",
		strings.Replace(good, "[app, log]", "[app], max_hold: 1", 1):            "must not be shorter than pause_timeout",
		strings.Replace(good, "[app, log]", `[app], read_suffix: ""`, 1):        "read_suffix may not be empty",
		strings.Replace(good, "[app, log]", `[app], max_lag: -1`, 1):            "must not be negative",
		strings.Replace(good, "[app, log]", `[app], parameters: "a\nb = c"`, 1): "must be one line",
	} {
		_, problems, _ := Load(file(t, "pgkeeper.yml", minimal+text), nil)
		if bad := problems.Errors(); len(bad) == 0 || !strings.Contains(bad.String(), why) {
			t.Errorf("%s\nsays %v, want %q", text, bad, why)
		}
	}
}
