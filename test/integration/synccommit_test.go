//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// metric is the value a node's scrape shows of a metric; empty when it is not there.
func metric(b *bedtest.Bed, n *testbed.Node, name string) string {
	b.T().Helper()
	_, text, err := n.Do(b.T().Context(), http.MethodGet, "/metrics", "")
	b.Must(err)
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name); found && strings.HasPrefix(rest, "{") {
			return strings.TrimSpace(rest[strings.LastIndexByte(rest, '}')+1:])
		}
	}
	return ""
}

// noSpaceMetric is how many members are full, by a node's scrape.
func noSpaceMetric(b *bedtest.Bed, n *testbed.Node) string {
	b.T().Helper()
	_, text, err := n.Do(b.T().Context(), http.MethodGet, "/metrics", "")
	b.Must(err)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, `pgkeeper_etcd_trouble{kind="no_space"`) {
			return strings.TrimSpace(line[strings.LastIndexByte(line, '}')+1:])
		}
	}
	return "nothing"
}

// awaitListed waits for list -v to say all of it.
func awaitListed(b *bedtest.Bed, limit time.Duration, lines ...string) {
	b.T().Helper()
	b.Wait(limit, "list -v to say "+strings.Join(lines, " and "), func(ctx) string {
		r := b.Ctl("list", "-v")
		for _, line := range lines {
			if !strings.Contains(r.Out, line) {
				return r.Out
			}
		}
		return ""
	})
}

// waitsForNobody has every commit on the server wait for a standby that never comes.
func waitsForNobody(b *bedtest.Bed, n *testbed.Node) {
	b.T().Helper()
	code, text, err := n.Do(b.T().Context(), http.MethodPatch, "/config", `{"postgresql":{"parameters":{"synchronous_standby_names":"nobody"}}}`)
	if err != nil || code != http.StatusOK {
		b.T().Fatalf("PATCH /config: %d %s %v", code, text, err)
	}
	b.Wait(10*time.Second, "commits to wait", func(ctx) string {
		if got := b.Text(n, "select current_setting('synchronous_standby_names')"); got != "nobody" {
			return "for " + got
		}
		return ""
	})
}

// cancelWait begins a commit and cancels its wait by that function of the server.
func cancelWait(b *bedtest.Bed, n *testbed.Node, function string) {
	b.T().Helper()
	session := connect(b, n)
	id := session.PgConn().PID()
	done := make(chan error, 1)
	go func() {
		_, err := session.Exec(b.T().Context(), "set synchronous_commit = on; insert into waiting default values")
		done <- err
	}()
	b.Wait(10*time.Second, "a commit that waits", func(ctx) string {
		if got := b.Text(n, fmt.Sprintf("select coalesce(wait_event, '') from pg_stat_activity where pid = %d", id)); got != "SyncRep" {
			return "for " + got
		}
		return ""
	})
	b.Text(n, fmt.Sprintf("select %s(%d)::text", function, id))
	b.T().Logf("after %s: %v", function, <-done) // success with a warning, or the end of the session
}

func TestWhoWeakensCommitsAndWhoseWaitsWereCancelledIsShown(t *testing.T) {
	for name, parameters := range map[string]map[string]any{
		"standard error":    {"log_line_prefix": "%m [%p] %q%u@%d "},
		"collector in csv":  {"logging_collector": "on", "log_destination": "stderr,csvlog", "log_error_verbosity": "verbose"},
		"collector in json": {"logging_collector": "on", "log_destination": "csvlog,jsonlog"},
		"nowhere":           {"log_destination": "syslog"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bedtest.New(t, testbed.Options{Nodes: 1, Parameters: parameters, InitDB: []any{map[string]any{"locale": "C"}}})
			primary := b.Primary(20 * time.Second)
			awaitListed(b, 20*time.Second, "synchronous_commit weakened for: none\n")
			b.Must(primary.Exec(t.Context(), "create database shop"))
			b.Must(primary.Exec(t.Context(), `create table waiting (id bigserial); create role "app user"; alter role "app user" set synchronous_commit = off;
				alter database shop set synchronous_commit to local; alter role "app user" in database shop set synchronous_commit = remote_write`))
			readable := name != "nowhere"
			if readable {
				awaitListed(b, 20*time.Second, "Synchronous waits cancelled: 0\n")
			} else {
				awaitListed(b, 20*time.Second, "Synchronous waits cancelled: unknown: ")
			}
			waitsForNobody(b, primary) // reloads: the settings are looked at again at once
			cancelWait(b, primary, "pg_cancel_backend")
			cancelWait(b, primary, "pg_terminate_backend")
			awaitListed(b, 20*time.Second, "synchronous_commit weakened for: database shop (local), role app user (off)\n")
			if got := metric(b, primary, "pgkeeper_sync_commit_weakened"); got != "2" {
				t.Errorf("the metric of weakened settings is %q, want 2", got)
			}
			if !readable {
				if got := metric(b, primary, "pgkeeper_sync_waits_cancelled_total"); got != "" {
					t.Errorf("cancelled waits are %s by the metric, and cannot be known", got)
				}
				return
			}
			if strings.HasPrefix(name, "collector") { // in the file before a rotation
				b.Text(primary, "select pg_rotate_logfile()::text")
			}
			cancelWait(b, primary, "pg_cancel_backend")
			awaitListed(b, 25*time.Second, "Synchronous waits cancelled: 3\n")
			if got := metric(b, primary, "pgkeeper_sync_waits_cancelled_total"); got != "3" {
				t.Errorf("the metric of cancelled waits is %q, want 3", got)
			}
			if _, text, err := primary.Do(t.Context(), http.MethodGet, "/patroni", ""); err != nil || !strings.Contains(text, `"sync_commit":{"weakened":[{"database":"shop","value":"local"},{"role":"app user","value":"off"}],"cancelled_waits":3}`) {
				t.Errorf("the status does not show it (%v): %s", err, text)
			}
		})
	}
}

func TestAFullEtcdIsNamedAndNoLongerWhenItHasRoom(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 1, EtcdBinary: true, EtcdQuota: 2 << 20})
	primary := b.Primary(20 * time.Second)
	if r := b.Ctl("list"); strings.Contains(r.Out, "etcd: ") {
		t.Errorf("a healthy etcd is in trouble:\n%s", r.Out)
	}
	etcd, err := b.Etcd.Client(t.Context())
	b.Must(err)
	t.Cleanup(func() { _ = etcd.Close() })
	value, full := strings.Repeat("x", 100<<10), false
	for range 1000 {
		if _, err = etcd.Put(t.Context(), "/fill", value); err != nil {
			full = strings.Contains(err.Error(), "space")
			break
		}
	}
	if !full {
		t.Fatalf("etcd did not fill up: %v", err)
	}
	named := "etcd: no_space at http://127.0.0.1:" // the node reaches etcd through a relay
	if r := b.Ctl("list"); !strings.Contains(r.Out, named) || !strings.Contains(r.Out, "etcdctl alarm disarm") {
		t.Errorf("list does not name it:\n%s", r.Out)
	}
	if r := b.Ctl("list", "-o", "json"); !strings.Contains(r.Out, `"etcd troubles": [{"kind":"no_space"`) {
		t.Errorf("the JSON does not have it:\n%s", r.Out)
	}
	b.Wait(30*time.Second, "the agent to name it", func(ctx) string {
		if got := noSpaceMetric(b, primary); got != "1" {
			return "the metric says " + got
		}
		return ""
	})
	b.Wait(10*time.Second, "list through the agent to name it", func(ctx ctx) string {
		r, err := b.Run(ctx, "", "--api", primary.URL(""), "list")
		if err != nil || !strings.Contains(r.Out, named) {
			return fmt.Sprint(r, err)
		}
		return ""
	})
	b.Wait(10*time.Second, "the log to name it once", func(ctx) string { // a moment after the metric
		if got := count(primary.Log(), "etcd is in trouble", "no_space"); got != 1 {
			return fmt.Sprintf("%d times", got)
		}
		return ""
	})

	now, err := etcd.Get(t.Context(), "/fill")
	b.Must(err)
	_, err = etcd.Compact(t.Context(), now.Header.Revision)
	b.Must(err)
	_, err = etcd.Defragment(t.Context(), b.Etcd.Endpoints()[0])
	b.Must(err)
	alarms, err := etcd.AlarmList(t.Context())
	b.Must(err)
	for _, a := range alarms.Alarms {
		_, err = etcd.AlarmDisarm(t.Context(), (*clientv3.AlarmMember)(a))
		b.Must(err)
	}
	b.Primary(30 * time.Second)
	b.Wait(60*time.Second, "the agent to see it gone", func(ctx) string {
		if got := noSpaceMetric(b, primary); got != "0" {
			return "the metric says " + got
		}
		return ""
	})
	b.Wait(20*time.Second, "list to see it gone", func(ctx) string {
		if r := b.Ctl("list"); strings.Contains(r.Out, "etcd: ") {
			return r.Out
		}
		return ""
	})
}
