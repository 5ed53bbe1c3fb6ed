package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/recorder"
)

// recording writes a recording of a standby that waits for etcd; the decisions of
// the last step are changed by wrong.
func recording(t *testing.T, path string, wrong func(*election.Decision)) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := recorder.NewWriter(file, recorder.Head{Version: "1", Scope: "batman", Member: "pg1"})
	o := election.Observation{Now: 5_000_000_000, Self: election.Self{Name: "pg1"}, Settings: cluster.DefaultSettings(), Guard: election.Guard{Connected: true}}
	for i := range 4 {
		o.Now = o.Now.Add(time.Second)
		d := election.Decide(&o)
		if i == 3 && wrong != nil {
			wrong(&d)
		}
		if err := w.Write(recorder.Step{Wall: time.Date(2026, 1, 1, 12, 0, i, 0, time.UTC), Observation: o, Decision: d}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplayTellsByItsExitCode(t *testing.T) {
	dir := t.TempDir()
	good, bad, torn := filepath.Join(dir, "steps-00000001.jsonl"), filepath.Join(dir, "bad"), filepath.Join(dir, "torn")
	recording(t, good, nil)
	recording(t, bad, func(d *election.Decision) { d.Reason = election.ReasonLeading })
	if err := os.WriteFile(torn, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{good}, 0, "4 steps in 1 files are decided as they were recorded"},
		{[]string{dir, good}, 0, "8 steps in 2 files"},
		{[]string{good, bad}, 1, "decision.Reason: recorded leading, now server_unknown"},
		{[]string{"--show", bad}, 0, "server_unknown"},
		{[]string{torn}, 2, "unreadable recording"},
		{[]string{"--show", torn}, 2, "unreadable recording"},
		{[]string{filepath.Join(dir, "none")}, 2, "no such file"},
		{[]string{empty}, 2, "holds no recording"},
		{nil, 2, "requires at least 1 arg"},
	} {
		got := try{args: append([]string{"replay"}, c.args...)}.run(t)
		if got.code != c.code || !strings.Contains(got.out+got.errOut, c.says) {
			t.Errorf("replay %v: %d %s%s, want %d and %q", c.args, got.code, got.out, got.errOut, c.code, c.says)
		}
	}
}

// TestExplainAsksTheAgentAndThenItsRecording.
func TestExplainAsksTheAgentAndThenItsRecording(t *testing.T) {
	dir, scope := t.TempDir(), "batman"
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"scope":"` + scope + `","member":"pg1","verdict":"primary: all is well","reason":"leading","why":"It leads.","next":"Nothing to do.","observed":[]}`))
	}))
	file := filepath.Join(dir, "pgkeeper.yml")
	content := "scope: batman\nname: pg1\nrestapi: {listen: '" + agent.Listener.Addr().String() + "', connect_address: '" + agent.Listener.Addr().String() +
		"'}\netcd3: {hosts: ['127.0.0.1:1']}\npostgresql: {listen: '127.0.0.1:1', connect_address: '127.0.0.1:1', data_dir: " + filepath.Join(dir, "data") + "}\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	explain := func(args ...string) outcome {
		return try{args: append([]string{"explain", "-c", file}, args...)}.run(t)
	}
	for _, args := range [][]string{nil, {"pg1"}} {
		if got := explain(args...); got.code != 0 || !strings.HasPrefix(got.out, "pg1: primary: all is well\n") {
			t.Errorf("explain %v: %+v", args, got)
		}
	}
	scope = "robin"
	if got := explain(); got.code != 1 || !strings.Contains(got.errOut, "is the agent of pg1 in cluster robin, not of pg1 in cluster batman") {
		t.Errorf("where another cluster's agent has the address: %+v", got)
	}
	agent.Close()
	if got := explain(); got.code != 1 || !strings.Contains(got.errOut, "holds no recording") {
		t.Errorf("without a recording: %+v", got)
	}
	recording(t, filepath.Join(dir, "data.pgkeeper", recorder.Folder, "steps-00000001.jsonl"), nil)
	if got := explain(); got.code != 0 || !strings.Contains(got.out, "Reason: server_unknown, for 3.0 s") ||
		!strings.Contains(got.out, "whose last step was at 2026-01-01T12:00:03Z") || !strings.Contains(got.errOut, "The agent does not answer") {
		t.Errorf("from its recording: %+v", got)
	}
	if got := explain("--cluster", "pg1"); got.code != 2 {
		t.Errorf("--cluster with a member: %+v", got)
	}
}
