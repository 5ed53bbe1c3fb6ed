//go:build integration

package dsn

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// psql is libpq: it refuses an option it does not know before it connects, and else tells which hosts it tried.
func TestLibpqKnowsEveryOptionAndTriesEveryHost(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed: script/install-deps test installs it")
	}
	for _, via := range []Via{Direct, HAProxy, PgBouncer} {
		o := options(Libpq, via, true)
		for i := range o.Hosts {
			o.Hosts = append([]Host{}, o.Hosts...)
			o.Hosts[i] = Host{Name: "127.0.0.1", Port: 1 + i}
		}
		text, _, err := String(o)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), psql, "-X", "-w", text, "-c", "select 1").CombinedOutput()
		for _, h := range o.Hosts {
			if err == nil || !strings.Contains(string(out), fmt.Sprintf("port %d failed: Connection refused", h.Port)) {
				t.Errorf("psql %q: %v\n%s", text, err, out)
			}
		}
	}
}
