package postgres

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// pendingCache keeps the answer about parameters that wait for a restart. It
// changes only when the configuration is loaded, the server restarts, we configure
// other command line parameters, or a standby's primary allows more; so it is asked then and not with
// every look.
type pendingCache struct {
	started, loaded string
	forced          map[string]string // never changed
	pending         map[string]cluster.PendingReason
}

// pendingSQL lists what waits for a restart by the server's own account, with the
// value that stands in the files, and the values of parameters that the command
// line forces: those the server cannot know to be pending.
const pendingSQL = `
select s.name, s.setting, s.pending_restart,
  (select f.setting from pg_file_settings f where f.name = s.name order by f.seqno desc limit 1)
from pg_settings s where s.pending_restart or s.name = any (string_to_array($1, ','))`

func (s *Server) pendingRestart(ctx context.Context, row lookRow, control cluster.ControlData) (map[string]cluster.PendingReason, error) {
	s.mu.Lock()
	cached, forced := s.pending, s.forced
	s.mu.Unlock()
	r := reader{row: row}
	started, loaded := r.text(colStarted), r.text(colLoaded)
	if r.flag(colRecovery) {
		forced = raised(forced, control) // a standby is started with no less than its primary has, which may have changed since
	}
	if cached.pending != nil && cached.started == started && cached.loaded == loaded && maps.Equal(cached.forced, forced) {
		return cached.pending, nil
	}
	rows, err := s.watch.query(ctx, "pending", pendingSQL, strings.Join(sortedKeys(forced), ","))
	if err != nil {
		return nil, fmt.Errorf("ask for parameters that wait for a restart: %w", err)
	}
	pending := map[string]cluster.PendingReason{}
	for _, row := range rows {
		p := reader{row: row}
		name, running, want := p.text(0), p.text(1), p.text(3)
		if configured, is := forced[name]; is {
			want = configured
		} else if !p.flag(2) {
			continue
		}
		if !sameValue(running, want) {
			pending[name] = cluster.PendingReason{Old: running, New: want}
		}
	}
	s.mu.Lock()
	s.pending = pendingCache{started: started, loaded: loaded, forced: forced, pending: pending}
	s.mu.Unlock()
	return maps.Clone(pending), nil
}

// stoppedBy says which setting has stopped a standby's replay: it is less than what pg_control
// has from the primary, and waits for a restart.
func stoppedBy(n *cluster.NodeState) string {
	if !n.ReplayPaused {
		return ""
	}
	for _, p := range forcedParameters {
		waits, found := n.PendingRestart[p.name]
		if running, err := strconv.Atoi(waits.Old); found && err == nil && p.standby != nil && running < p.standby(n.Control) {
			return fmt.Sprintf("%s is %d here and %d on the primary", p.name, running, p.standby(n.Control))
		}
	}
	return ""
}

// sameValue compares two spellings of a parameter's value as far as the forced
// parameters need it: booleans, numbers and words.
func sameValue(a, b string) bool { return plainValue(a) == plainValue(b) }

func plainValue(v string) string {
	v = strings.ToLower(strings.TrimSpace(v))
	switch v {
	case "true", "yes", "1":
		return "on"
	case "false", "no", "0":
		return "off"
	}
	return v
}
