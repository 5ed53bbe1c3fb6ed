package pgrw

import (
	"reflect"
	"strings"
	"testing"
)

func TestDSNs(t *testing.T) {
	for text, want := range map[string]dsn{
		"pgkeeper://a:8008,b:9/app":                                {agents: []string{"http://a:8008", "http://b:9"}, before: "postgres://", after: "/app"},
		"pgkeeper+https://a,[::1]:9/app":                           {agents: []string{"https://a:8008", "https://[::1]:9"}, before: "postgres://", after: "/app"},
		"postgres://u:p%40@h1,h2:5433/app?sslmode=require":         {servers: []string{"h1:5432", "h2:5433"}, before: "postgres://u:p%40@", after: "/app?sslmode=require"},
		"postgresql://u@[::1],h/app?target_session_attrs=primary":  {servers: []string{"[::1]:5432", "h:5432"}, before: "postgres://u@", after: "/app"},
		"postgres://h,h:5432":                                      {servers: []string{"h:5432"}, before: "postgres://", after: "/"},
		"postgres://h/app?pool_max_conns=7&load_balance_hosts=yes": {servers: []string{"h:5432"}, before: "postgres://", after: "/app?pool_max_conns=7"},
	} {
		if got, err := parseDSN(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"host=a dbname=b":               "want pgkeeper://",
		"mysql://a/b":                   "unknown scheme",
		"postgres://a,,b/app":           "a host is empty",
		"postgres://:5432/app":          "a host is empty",
		"postgres:///app":               "a host is empty",
		"postgres://::1/app":            "brackets",
		"postgres://a/app?host=b":       "the parameter host",
		"postgres://a/app?sslmode=more": "cannot be read",
	} {
		if _, err := parseDSN(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestPatronisClusterIsUnderstood(t *testing.T) {
	r, err := readCluster([]byte(`{"members": [
	  {"name": "a", "role": "leader", "state": "running", "api_url": "http://10.0.0.1:8008/patroni", "host": "10.0.0.1", "port": 5432, "timeline": 3, "tags": {"zone": "eu", "noloadbalance": true, "n": 4}},
	  {"name": "b", "role": "sync_standby", "state": "streaming", "host": "10.0.0.2", "port": 5432, "timeline": 3, "lag": 0},
	  {"name": "c", "role": "replica", "state": "creating replica", "lag": "unknown"}], "scope": "demo"}`))
	if err != nil || r.leader != "10.0.0.1:5432" || len(r.members) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if m := r.members[0]; m.api != "http://10.0.0.1:8008" || m.timeline != 3 || m.tags["zone"] != "eu" || m.tags["noloadbalance"] != "true" || m.tags["n"] != "4" {
		t.Errorf("%+v", m)
	}
	for name, bad := range map[string]string{
		"no member":        `{"members": []}`,
		"no JSON":          `503`,
		"a blind agent":    `{"members": [{"name": "a"}], "pgkeeper": {"store_error": "no route"}}`,
		"another document": `[1]`,
	} {
		if r, err := readCluster([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", name, r)
		}
	}
}

func TestALeaderThatDoesNotRunIsNone(t *testing.T) {
	for _, state := range []string{"starting", "stopped", "crashed", "stopping"} {
		r, err := readCluster([]byte(`{"members": [{"name": "a", "role": "leader", "state": "` + state + `", "host": "h", "port": 1}]}`))
		if err != nil || r.leader != "" {
			t.Errorf("%s: leader %q, %v", state, r.leader, err)
		}
	}
}

func TestEventsAreFolded(t *testing.T) {
	const snapshot = `{"scope":"x","revision":7,"leader":{"name":"a","term":42,"timeline":3,"host":"h","port":1},"members":[
	 {"name":"a","role":"primary","state":"running","host":"h","port":1},{"name":"b","role":"replica","state":"running","replication_state":"streaming","host":"h","port":2}]}`
	s := &stream{members: map[string]wireMember{}}
	if _, _, err := s.fold(sseEvent{name: "leader", data: `{"name":"a"}`}); err == nil {
		t.Error("a leader before a snapshot was believed")
	}
	r, _, err := s.fold(sseEvent{name: "snapshot", data: snapshot})
	if err != nil || r.leader != "h:1" || r.term != 42 || len(r.members) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, m := range r.members {
		if m.name == "b" && !(m.serves() && isReplica(m.role)) {
			t.Errorf("b is no replica: %+v", m)
		}
	}
	_, positions, err := s.fold(sseEvent{name: "lsn", data: `{"end":"0/20","members":{"b":{"lsn":"0/10","age_ms":3},"x":{"lsn":"0/1"},"a":{"lsn":"?"}}}`})
	if err != nil || len(positions) != 1 || positions["h:2"] != 0x10 {
		t.Errorf("positions %v, %v", positions, err)
	}
	if r, _, err = s.fold(sseEvent{name: "leader_lost", data: `{"name":"a","term":42}`}); err != nil || r.leader != "" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, _, err := s.fold(sseEvent{name: "heartbeat", data: `{"store_error":"no route"}`}); err == nil {
		t.Error("a blind agent was believed")
	}
	for _, e := range []sseEvent{{name: "heartbeat", data: `{"revision":8}`}, {name: "something new", data: `x`}} {
		if r, p, err := s.fold(e); r != nil || p != nil || err != nil {
			t.Errorf("%s: %v %v %v", e.name, r, p, err)
		}
	}
}

func TestTheHistoryIsRead(t *testing.T) {
	ends, err := readHistory([]byte(`[[1, 25623960, "no recovery target specified", "2026-01-01T00:00:00+00:00", "b"], [3, 25624344, "x"]]`))
	if err != nil || len(ends) != 2 || ends[3] != 25624344 {
		t.Errorf("%v, %v", ends, err)
	}
}

// FuzzParsers gives what comes from outside to whoever reads it: nothing panics, and what
// is read comes back as it was.
func FuzzParsers(f *testing.F) {
	for _, seed := range []string{"1-7-1-2000", "0/3000148", "postgres://u:p@h1,[::1]:5/app?sslmode=require", "pgkeeper+https://a/b", "[[1, 2]]",
		`{"members":[{"name":"a","role":"leader","state":"running","host":"h","port":1,"tags":{"a":[1]}}]}`, "event: lsn\ndata: {}\n\nevent: snapshot\nid: 1\ndata: {\"members\":[]}\n\n:x\n\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if token, err := ParseToken(text); err == nil {
			if back, err := ParseToken(token.String()); err != nil || back != token {
				t.Errorf("%q was read as %v, which is read as %v: %v", text, token, back, err)
			}
		}
		if lsn, err := ParseLSN(text); err == nil {
			if back, err := ParseLSN(lsn.String()); err != nil || back != lsn {
				t.Errorf("%q was read as %v, which is read as %v: %v", text, lsn, back, err)
			}
		}
		if d, err := parseDSN(text); err == nil && len(d.agents)+len(d.servers) == 0 {
			t.Errorf("%q names nobody", text)
		}
		_, _ = readCluster([]byte(text))
		_, _ = readHistory([]byte(text))
		s, events := &stream{members: map[string]wireMember{}}, newSSEReader(strings.NewReader(text))
		for {
			e, err := events.next()
			if err != nil {
				return
			}
			_, _, _ = s.fold(e)
		}
	})
}
