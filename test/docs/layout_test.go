package docs

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

// last is what stands in place of the name behind a key that ends in a slash.
func last(key string) string {
	switch {
	case strings.HasSuffix(key, "requests/"):
		return "pg2/r-01"
	case strings.HasSuffix(key, "results/"):
		return "r-01"
	case strings.HasSuffix(key, "/"):
		return "pg2"
	}
	return ""
}

func TestTheExamplesOfTheLayoutAreReadWithoutAProblem(t *testing.T) {
	kv := memory.NewServer(func() cluster.Instant { return 1 }).Client("docs")
	store := dcs.NewStore(kv, "service", "demo")
	for key, value := range examples(t) {
		if _, err := kv.Txn(t.Context(), nil, []dcs.Op{dcs.Put(store.Base()+"/"+key+last(key), []byte(value), 0)}); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
	}
	v, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range v.Problems {
		t.Error(problem)
	}
	for what, missing := range map[string]bool{
		"member":         v.Members["pg2"].Keeper == nil || v.Members["pg2"].Keeper.Position == nil,
		"config":         v.Config == nil,
		"failover":       v.Failover.Empty(),
		"history":        len(v.History) != 1,
		"status":         v.Status == nil || v.Status.Timeline != 3 || len(v.Status.Slots) != 2,
		"beat":           v.Beat == nil || v.Beat.Term == 0,
		"holder":         v.Holder == nil || v.Holder.BootID == "",
		"handover":       v.Handover == nil || !v.Handover.Position.LSN.Known(),
		"release":        v.Release == nil || v.Release.BeatRevision == 0,
		"timelines":      v.Timelines.Highest() != 3,
		"switchover":     v.Switchover == nil || v.Switchover.Phase != cluster.SwitchoverStopping,
		"paused_primary": v.PausedAt == nil || v.PausedAt.Name == "",
		"peer_key":       v.PeerKeyRev == 0,
		"request":        len(v.Requests) != 1 || v.Requests[0].Kind != cluster.RequestRestart,
		"result":         !v.Results["r-01"].Done,
	} {
		if missing {
			t.Errorf("the example of %s was not read as it is meant: %+v", what, v)
		}
	}
}

// keys are the constants of dcs/keys.go.
func keys(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "dcs/keys.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "key") {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, value)
		}
		return true
	})
	if len(found) == 0 {
		t.Fatal("dcs/keys.go: no key was recognised")
	}
	return found
}

// examples are the values shown in docs/dcs-layout.md, by key.
func examples(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	key, inside := "", false
	lines := bufio.NewScanner(strings.NewReader(page(t, "docs/dcs-layout.md")))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
			key = ""
			if name, ok := strings.CutPrefix(line, "### `"); ok {
				key = strings.TrimSuffix(name, "`")
			}
		case strings.HasPrefix(line, "```"):
			inside = !inside
		case inside && key != "":
			found[key] += line
		}
	}
	return found
}

func TestEveryKeyStandsInTheLayoutWithAnExample(t *testing.T) {
	shown := examples(t)
	for _, key := range keys(t) {
		if shown[key] == "" {
			t.Errorf("docs/dcs-layout.md: no section with an example for the key %s", key)
		}
		delete(shown, key)
	}
	for key := range shown {
		t.Errorf("docs/dcs-layout.md: dcs/keys.go has no key %s", key)
	}
}
