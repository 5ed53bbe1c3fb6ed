package render

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// managed is what each example of a managed service has beside its servers.
var managed = map[string]struct {
	// database and user are the attribute, by its resource, that names what the application connects to and as.
	database, user [2]string
	// opens is what lets clients reach a server: an attribute or block in it, or a resource that refers to it.
	opens string
}{
	"rds":      {[2]string{"aws_db_instance", "db_name"}, [2]string{"aws_db_instance", "username"}, "vpc_security_group_ids"},
	"cloudsql": {[2]string{"google_sql_database", "name"}, [2]string{"google_sql_user", "name"}, "authorized_networks"},
	"azure": {[2]string{"azurerm_postgresql_flexible_server_database", "name"}, [2]string{"azurerm_postgresql_flexible_server", "administrator_login"},
		"azurerm_postgresql_flexible_server_firewall_rule"},
}

// needed is what a server must be given to have an attribute that an output shows.
var needed = map[string]string{"fqdn": "name", "endpoint": "identifier", "hostname": "hostname", "public_ip_address": "ipv4_enabled", "private_ip_address": "private_network"}

func TestEveryTerraformExampleIsComplete(t *testing.T) {
	for _, place := range places {
		for example := range counted {
			t.Run(filepath.Base(place)+"/"+example, func(t *testing.T) {
				path := filepath.Join(place, "terraform", example, "main.tf")
				source, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				body := parse(t, path)
				providers(t, body)
				servers := outputs(t, body, source)
				want, ok := managed[example]
				if !ok {
					return
				}
				for _, server := range servers {
					if !has(server.Body, want.opens) && !referred(body, want.opens, server) {
						t.Errorf("nothing lets clients reach %s.%s: no %s", server.Labels[0], server.Labels[1], want.opens)
					}
				}
				address := fmt.Sprintf("postgres://%s@<output hosts>/%s\n", named(t, body, want.user), named(t, body, want.database))
				if !strings.Contains(string(source), address) {
					t.Errorf("the file does not say that it is for %s", address)
				}
			})
		}
	}
}

// providers fails for a resource whose provider is not asked for, or has no block; azurerm refuses one without features.
func providers(t *testing.T, body *hclsyntax.Body) {
	t.Helper()
	required, blocks := map[string]bool{}, map[string]*hclsyntax.Body{}
	for _, b := range body.Blocks {
		switch b.Type {
		case "terraform":
			for _, inner := range b.Body.Blocks {
				for name := range inner.Body.Attributes {
					required[name] = true
				}
			}
		case "provider":
			blocks[b.Labels[0]] = b.Body
		}
	}
	for _, b := range body.Blocks {
		if b.Type != "resource" {
			continue
		}
		name, _, _ := strings.Cut(b.Labels[0], "_")
		if !required[name] || blocks[name] == nil {
			t.Errorf("%s is of the provider %s: required %v, configured %v", b.Labels[0], name, required[name], blocks[name] != nil)
		}
		if name == "azurerm" && blocks[name] != nil && !has(blocks[name], "features") {
			t.Error("the provider azurerm has no features block")
		}
	}
}

var shown = regexp.MustCompile(`([a-z_]+)\.([a-z_]+)(?:\[\*\])?\.([a-z_]+)`)

// outputs fails for an attribute that its resource will not have, and returns the resources that are shown.
func outputs(t *testing.T, body *hclsyntax.Body, source []byte) (servers []*hclsyntax.Block) {
	t.Helper()
	for _, b := range body.Blocks {
		if b.Type != "output" {
			continue
		}
		for _, m := range shown.FindAllStringSubmatch(string(b.Body.Attributes["value"].Expr.Range().SliceBytes(source)), -1) {
			server, needs := resource(body, m[1], m[2]), needed[m[3]]
			if server == nil || needs == "" || !has(server.Body, needs) {
				t.Errorf("output %s shows %s, which needs %q in its resource", b.Labels[0], m[0], needs)
				continue
			}
			servers = append(servers, server)
		}
	}
	if len(servers) == 0 {
		t.Error("no output shows a server")
	}
	return servers
}

func resource(body *hclsyntax.Body, kind, name string) *hclsyntax.Block {
	for _, b := range body.Blocks {
		if b.Type == "resource" && b.Labels[0] == kind && (name == "" || b.Labels[1] == name) {
			return b
		}
	}
	return nil
}

// has tells whether an attribute or a block of that name is in a body or the blocks in it.
func has(body *hclsyntax.Body, name string) bool {
	return body.Attributes[name] != nil || slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == name || has(b.Body, name) })
}

// referred tells whether a resource of that kind refers to the server.
func referred(body *hclsyntax.Body, kind string, server *hclsyntax.Block) bool {
	return slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool {
		return b.Type == "resource" && b.Labels[0] == kind &&
			slices.ContainsFunc(used(b.Body), func(u hcl.Traversal) bool { return text(u) == server.Labels[0]+"."+server.Labels[1] })
	})
}

// named is the text of an attribute of the first resource of a kind.
func named(t *testing.T, body *hclsyntax.Body, what [2]string) string {
	t.Helper()
	if b := resource(body, what[0], ""); b != nil && b.Body.Attributes[what[1]] != nil {
		if value, problems := b.Body.Attributes[what[1]].Expr.Value(nil); !problems.HasErrors() {
			return value.AsString()
		}
	}
	t.Errorf("no resource %s says %s", what[0], what[1])
	return ""
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
