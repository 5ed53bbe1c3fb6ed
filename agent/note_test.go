package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/guard"
)

func TestAServerThatStaysUnknownIsLogged(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t)
	r.loop.log = slog.New(slog.NewTextHandler(&log, nil))
	r.step(GuardUp{guard.Status{}})
	r.see()
	fails := func() {
		r.loop.busy[LaneLook] = true
		r.step(Looked{At: r.now, Err: "open /data: permission denied", Instance: r.loop.instance()})
	}
	fails()
	if strings.Contains(log.String(), "reason=server_unknown") {
		t.Errorf("a moment is logged: %s", log.String())
	}
	for range 5 {
		r.pass(time.Second)
		fails()
	}
	if n := strings.Count(log.String(), "level=WARN msg=decided member=pg1 reason=server_unknown"); n != 1 || !strings.Contains(log.String(), "permission denied") {
		t.Errorf("after five seconds it is logged %d times: %s", n, log.String())
	}
	r.look(cluster.ModeStandby)
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); strings.Contains(lines[len(lines)-1], "server_unknown") {
		t.Errorf("its end is not logged: %s", log.String())
	}
}
