package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// rig is a store with hand-made keys, an operator on it, and what it printed.
type rig struct {
	*Operator
	kv       *memory.Client
	keys     *dcs.Store
	store    *Store
	out, err bytes.Buffer
}

// testClock pauses briefly, so that a wait in a test ends when its condition
// holds and not after a duration.
type testClock struct{}

func (testClock) Now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func (testClock) Wait(ctx context.Context, _ time.Duration) error {
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// newRig fills /service/batman with keys; answers are what the operator types.
func newRig(t *testing.T, keys map[string]string, answers ...string) *rig {
	t.Helper()
	r := &rig{kv: memory.NewServer(func() cluster.Instant { return 1 }).Client("test")}
	for name, value := range keys {
		r.put(t, name, value)
	}
	r.keys = dcs.NewStore(r.kv, "service", "batman")
	r.store = NewStore(r.keys, StoreOptions{
		Scope: "batman", Clock: testClock{}, Endpoints: []string{"127.0.0.1:2379"},
		Scopes: func(ctx context.Context) ([]string, error) { return Scopes(ctx, r.kv, "service") },
	})
	r.Operator = &Operator{Cluster: r.store, Clock: testClock{}, Console: &Console{
		In: strings.NewReader(strings.Join(answers, "\n")), Out: &r.out, Err: &r.err, Format: FormatPretty,
	}}
	return r
}

func (r *rig) put(t *testing.T, name, value string) {
	t.Helper()
	if !strings.HasPrefix(name, "/") {
		name = "/service/batman/" + name
	}
	if _, err := r.kv.Txn(t.Context(), nil, []dcs.Op{dcs.Put(name, []byte(value), 0)}); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) get(t *testing.T, name string) string {
	t.Helper()
	s, err := r.kv.Range(t.Context(), "/service/batman/"+name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Pairs {
		if p.Key == "/service/batman/"+name {
			return string(p.Value)
		}
	}
	return ""
}

// agents plays the members: it answers every request and wish with what reply
// returns, until the test ends.
func (r *rig) agents(t *testing.T, reply func(cluster.View, cluster.Request, *cluster.Failover) *cluster.Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	view, err := r.keys.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	answered := map[string]bool{}
	go func() {
		defer close(done)
		for u := range r.keys.Watch(ctx, view) {
			for _, q := range u.View.Requests {
				if !answered[q.ID] {
					answered[q.ID] = true
					r.answer(ctx, q.ID, reply(u.View, q, nil))
				}
			}
			if f := u.View.Failover; !f.Empty() && !answered[f.ID] {
				answered[f.ID] = true
				r.answer(ctx, f.ID, reply(u.View, cluster.Request{}, f))
			}
		}
	}()
}

func (r *rig) answer(ctx context.Context, id string, result *cluster.Result) {
	if result == nil {
		return
	}
	result.ID = id
	raw, err := json.Marshal(result)
	if err != nil {
		return
	}
	_, _ = r.kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/service/batman/pgkeeper/results/"+id, raw, 0)})
}

// healthy is a cluster of three with nothing wrong.
func healthy() map[string]string {
	return map[string]string{
		"initialize":  "7268616322854375442",
		"leader":      "pg1",
		"config":      `{"ttl":10,"loop_wait":2,"retry_timeout":3,"postgresql":{"parameters":{"max_connections":100}}}`,
		"status":      `{"optime":67395656}`,
		"members/pg1": member("pg1", `"role":"primary","xlog_location":67395656`),
		"members/pg2": member("pg2", `"role":"replica","replication_state":"streaming","xlog_location":67395656,"receive_lsn":67395656,"replay_lsn":67395000`),
		"members/pg3": member("pg3", `"role":"replica","replication_state":"streaming","xlog_location":50331648,"receive_lsn":50331648,"replay_lsn":50331648`),
		"history":     `[[1,25165824,"no recovery target specified","2026-02-01T10:00:00+00:00","pg2"],[2,50331648,"no recovery target specified","2026-02-02T10:00:00+00:00","pg1"]]`,
	}
}

// member is a running member of ours; extra fields come after, and win.
func member(name, extra string) string {
	fields := map[string]any{
		"conn_url": "postgres://10.0.0." + name[2:] + ":5432/postgres", "api_url": "http://10.0.0." + name[2:] + ":8008/patroni",
		"state": "running", "version": "4.1.4", "timeline": 3, "pgkeeper": map[string]any{"version": "0.1.0", "node": name},
	}
	if err := json.Unmarshal([]byte("{"+extra+"}"), &fields); err != nil {
		panic(err)
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// with returns keys with changes; an empty value removes a key.
func with(keys map[string]string, changes ...string) map[string]string {
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			delete(keys, changes[i])
			continue
		}
		keys[changes[i]] = changes[i+1]
	}
	return keys
}

// golden compares with testdata/<name>, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), run with -update if that is meant:\n%s", path, diff)
	}
}
