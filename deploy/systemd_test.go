package deploy

import (
	"os"
	"strings"
	"testing"
)

// Each of these carries a part of the safety argument or of "an upgrade of the agent is no outage".
func TestSystemdUnitKeepsItsPromises(t *testing.T) {
	unit, err := os.ReadFile("systemd/pgkeeper.service")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for line := range strings.Lines(string(unit)) {
		set[strings.TrimSpace(line)] = true
	}
	for directive, why := range map[string]string{
		"Type=notify":                        "the unit is up only when the agent says so",
		"KillMode=process":                   "stopping the supervisor must not kill the server beside it",
		"Restart=always":                     "a dead supervisor is replaced",
		"StartLimitIntervalSec=0":            "and replaced again, without end",
		"Delegate=yes":                       "the guard may keep a control group for the server",
		"RuntimeDirectoryPreserve=yes":       "the next agent finds the guard by its socket",
		"ExecReload=/bin/kill -HUP $MAINPID": "HUP reloads",
	} {
		if !set[directive] {
			t.Errorf("the unit lacks %q: %s", directive, why)
		}
	}
}

// While it restarts the checks govern, so it may be ended at any time; it needs no root.
func TestSystemdUnitOfRouteComesBackAtOnce(t *testing.T) {
	unit, err := os.ReadFile("systemd/pgkeeper-route.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Restart=always", "RestartSec=200ms", "StartLimitIntervalSec=0", "User=haproxy", "/usr/bin/pgkeeper route "} {
		if !strings.Contains(string(unit), line) {
			t.Errorf("the unit lacks %q", line)
		}
	}
}
