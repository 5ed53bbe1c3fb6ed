package restapi

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// documented are the operations of the OpenAPI file, as "METHOD /path".
func documented(t *testing.T) map[string]map[string]any {
	t.Helper()
	data, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatalf("docs/openapi.yaml: %v", err)
	}
	out := map[string]map[string]any{}
	for path, item := range file.Paths {
		for method, operation := range item {
			if method == "summary" || method == "parameters" {
				continue
			}
			fields, ok := operation.(map[string]any)
			if !ok {
				t.Fatalf("docs/openapi.yaml: %s of %s is %T", method, path, operation)
			}
			out[strings.ToUpper(method)+" "+path] = fields
		}
	}
	return out
}

// routed are those of the router.
func routed(t *testing.T, n *node) []string {
	t.Helper()
	var out []string
	err := chi.Walk(n.routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		out = append(out, method+" "+strings.Replace(route, "*", "{path}", 1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestOpenAPIAndTheRouterListTheSame(t *testing.T) {
	docs := documented(t)
	want := slices.Sorted(maps.Keys(docs))
	if diff := cmp.Diff(want, routed(t, newNode(t, primary()))); diff != "" {
		t.Errorf("operations (-documented +routed):\n%s", diff)
	}
}

// TestOpenAPIListsTheCodesAnswered asks every operation in a few situations.
func TestOpenAPIListsTheCodesAnswered(t *testing.T) {
	docs := documented(t)
	nodes := []*node{
		newNode(t, primary(), operated(&operator{})), newNode(t, standby(), operated(&operator{})), newNode(t, nil),
		newNode(t, primary(), func(o *Options) { o.Access = Access{Username: "u"} }),
		newNode(t, primary(), func(o *Options) { o.Access = Access{Allowlist: []string{"192.0.2.1"}} }),
	}
	for key, operation := range docs {
		method, path, _ := strings.Cut(key, " ")
		responses, _ := operation["responses"].(map[string]any)
		for _, n := range nodes {
			for _, body := range []string{"", "{}", "{"} {
				w := n.ask(method, strings.Replace(path, "{path}", "x", 1), body)
				if _, listed := responses[strconv.Itoa(w.Code)]; !listed {
					t.Errorf("%s answers %d, which docs/openapi.yaml does not list", key, w.Code)
				}
			}
		}
	}
}

func TestTheHandbookNamesEveryPath(t *testing.T) {
	page, err := os.ReadFile("../docs/rest-api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range routed(t, newNode(t, primary())) {
		_, path, _ := strings.Cut(route, " ")
		path = strings.Replace(path, "{path}", "", 1)
		if !strings.Contains(string(page), "`"+path) {
			t.Errorf("docs/rest-api.md does not name %s", path)
		}
	}
}
