package election

import (
	"flag"
	"go/ast"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestEveryReasonIsReached: the rules' cases reach every reason there is, and none
// that reason.go does not name.
func TestEveryReasonIsReached(t *testing.T) {
	seen := map[cluster.Reason]string{}
	for _, r := range allRules() {
		seen[Decide(&r.given).Reason] = r.name
	}
	for _, reason := range reasons(t) {
		if _, reached := seen[reason]; !reached {
			t.Errorf("no case reaches %q", reason)
		}
		delete(seen, reason)
	}
	for reason, name := range seen {
		if !strings.HasPrefix(string(reason), reasonJobPrefix) {
			t.Errorf("%q gives %q, which reason.go does not name", name, reason)
		}
	}
}

// TestReasonsAreStable: reasons are snake_case and no two are the same.
func TestReasonsAreStable(t *testing.T) {
	known := map[cluster.Reason]bool{}
	for _, reason := range reasons(t) {
		if known[reason] {
			t.Errorf("%q stands twice", reason)
		}
		known[reason] = true
		if strings.Trim(string(reason), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%q is not snake_case", reason)
		}
	}
}

// TestEveryGuardIsNamedOnce: a guard's comment names it, so that a test that
// removes it on purpose finds it.
func TestEveryGuardIsNamedOnce(t *testing.T) {
	seen := map[string]string{}
	for path, file := range sources(t, ".") {
		for _, group := range file.Comments {
			for _, c := range group.List {
				_, rest, found := strings.Cut(c.Text, "guard: ")
				if !found || !strings.HasPrefix(c.Text, "// guard: ") {
					continue
				}
				name, _, _ := strings.Cut(rest, " ")
				if other, twice := seen[name]; twice {
					t.Errorf("guard %s stands in %s and %s", name, other, path)
				}
				seen[name] = path
			}
		}
	}
	if len(seen) < 40 {
		t.Errorf("found %d guards only: %v", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}

// TestEveryReasonIsExplained in two sentences or three, ending with what to do.
func TestEveryReasonIsExplained(t *testing.T) {
	all := reasons(t)
	for _, kind := range jobKinds {
		all = append(all, reasonOfJob(kind))
	}
	for _, reason := range all {
		e, ok := explanations[reason]
		if !ok {
			t.Errorf("%q has no explanation", reason)
			continue
		}
		for _, sentence := range []string{e.why, e.next} {
			if !strings.HasSuffix(sentence, ".") || strings.Contains(sentence, "  ") || strings.ContainsAny(sentence, "|\n") {
				t.Errorf("%q: no sentence: %q", reason, sentence)
			}
		}
		if got := Explain(reason); got != e.why+" "+e.next {
			t.Errorf("%q is explained as %q", reason, got)
		}
	}
	if len(all) != len(explanations) {
		t.Errorf("%d reasons, %d explanations", len(all), len(explanations))
	}
}

// TestUnknownReasonsAreExplainedToo: another member may run a newer version.
func TestUnknownReasonsAreExplainedToo(t *testing.T) {
	for reason, want := range map[cluster.Reason]string{
		"running_something_new": "The job something_new runs. Nothing to do.",
		"brand_new":             "This version does not know the reason brand_new. Ask the member that gave it: it may run a newer one.",
	} {
		if got := Explain(reason); got != want {
			t.Errorf("%q: %q", reason, got)
		}
	}
}

// TestRunbook: the table in docs/operations.md says what Explain says.
func TestRunbook(t *testing.T) {
	const path, begin, end = "../docs/operations.md", "<!-- reasons: begin -->\n", "<!-- reasons: end -->"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	have, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no lines %q and %q", path, begin, end)
	}
	want := runbook(t)
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s is out of date, run go test ./election -update (-want +got):\n%s", path, diff)
	}
}

func runbook(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| reason | what is the case | what to do |\n|---|---|---|\n")
	all := reasons(t)
	for _, kind := range jobKinds {
		all = append(all, reasonOfJob(kind))
	}
	for _, reason := range all {
		e := explanations[reason]
		b.WriteString("| `" + string(reason) + "` | " + e.why + " | " + e.next + " |\n")
	}
	return b.String()
}

// reasons are the constants of reason.go, in their order.
func reasons(t *testing.T) (found []cluster.Reason) {
	t.Helper()
	for _, decl := range sources(t, ".")["reason.go"].Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(value.Names[0].Name, "Reason") {
				continue
			}
			text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, cluster.Reason(text))
		}
	}
	if len(found) < 60 {
		t.Fatalf("reason.go names %d reasons only", len(found))
	}
	return found
}
