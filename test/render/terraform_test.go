package render

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// counted is the resource of each example that comes in numbers, and the variable that says how many.
var counted = map[string][3]string{
	"docker":   {"docker_container", "node", "nodes"},
	"rds":      {"aws_db_instance", "replica", "replicas"},
	"cloudsql": {"google_sql_database_instance", "replica", "replicas"},
	"azure":    {"azurerm_postgresql_flexible_server", "replica", "replicas"},
}

func TestEveryTerraformExampleParsesAndCountsByItsVariable(t *testing.T) {
	for _, place := range places {
		for provider, want := range counted {
			t.Run(filepath.Base(place)+"/"+provider, func(t *testing.T) {
				body := parse(t, filepath.Join(place, "terraform", provider, "main.tf"))
				variables, resources := map[string]bool{}, map[string]*hclsyntax.Block{}
				for _, b := range body.Blocks {
					switch b.Type {
					case "variable":
						variables[b.Labels[0]] = true
					case "resource":
						resources[b.Labels[0]+"."+b.Labels[1]] = b
					}
				}
				many := resources[want[0]+"."+want[1]]
				if many == nil {
					t.Fatalf("no resource %s.%s", want[0], want[1])
				}
				count := many.Body.Attributes["count"]
				if count == nil || len(count.Expr.Variables()) != 1 || text(count.Expr.Variables()[0]) != "var."+want[2] {
					t.Errorf("%s.%s is not counted by var.%s", want[0], want[1], want[2])
				}
				references(t, body, variables, resources)
			})
		}
	}
}

// references fails for a variable or resource that is used and declared nowhere.
func references(t *testing.T, body *hclsyntax.Body, variables map[string]bool, resources map[string]*hclsyntax.Block) {
	t.Helper()
	for _, traversal := range used(body) {
		switch name := text(traversal); traversal.RootName() {
		case "var":
			if !variables[name[len("var."):]] {
				t.Errorf("%s is declared nowhere", name)
			}
		case "count":
		default:
			if resources[name] == nil {
				t.Errorf("resource %s is declared nowhere", name)
			}
		}
	}
}

// used are all references in a body and the blocks in it.
func used(body *hclsyntax.Body) []hcl.Traversal {
	var all []hcl.Traversal
	for _, a := range body.Attributes {
		if a.Name != "type" {
			all = append(all, a.Expr.Variables()...)
		}
	}
	for _, b := range body.Blocks {
		all = append(all, used(b.Body)...)
	}
	return all
}

// text is the first two steps of a reference: var.nodes, docker_network.cluster.
func text(t hcl.Traversal) string {
	name := t.RootName()
	if len(t) > 1 {
		if step, ok := t[1].(hcl.TraverseAttr); ok {
			name += "." + step.Name
		}
	}
	return name
}

func parse(t *testing.T, path string) *hclsyntax.Body {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := hclsyntax.ParseConfig(source, path, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return file.Body.(*hclsyntax.Body)
}
