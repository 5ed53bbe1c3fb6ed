package election

import (
	"go/ast"
	"go/parser"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
)

// anyOrder is the remark that a walk over a map has on its line: whatever comes first, the
// same is decided. It is for whoever writes the next one to think of.
const anyOrder = "// in any order"

// TestMapsAreWalkedInAnyOrder: Go walks a map in another order each time, so of two members
// that are equal a decision would find now the one and now the other first. Decide has done
// so (seeds 6974 and 7033 of the simulator made two runs each), and the property test beside
// the fuzz target, which decides again, met it never.
func TestMapsAreWalkedInAnyOrder(t *testing.T) {
	words, found := unmarkedWalks("cluster", slices.Collect(maps.Values(sources(t, "../cluster"))), nil)
	_, here := unmarkedWalks("election", slices.Collect(maps.Values(sources(t, "."))), words)
	for _, line := range append(found, here...) {
		t.Errorf("%s: walks over a map; sort its keys, or say %q when that is so", line, anyOrder)
	}
}

// TestWalksAreSeen: the test above can fail.
func TestWalksAreSeen(t *testing.T) {
	const source = `package p
type named map[string]int
func f(a named, b []int, c map[int]bool) {
	for range a {}
	for range b {}
	for range c { // in any order
	}
	for range c {
		// in any order
	}
}`
	file, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if _, got := unmarkedWalks("p", []*ast.File{file}, nil); !slices.Equal(got, []string{"p.go:4:2", "p.go:8:2"}) {
		t.Errorf("seen: %s", got)
	}
}

// unmarkedWalks are the places of a package where a map is walked without the remark. Of what
// it imports only cluster is looked into, so a map that another package's function returns is
// not seen.
func unmarkedWalks(path string, files []*ast.File, words *types.Package) (pkg *types.Package, found []string) {
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	with := types.Config{Importer: known{words}, Error: func(error) {}} // what others declare is missing
	pkg, _ = with.Check(path, fset, files, &info)
	for _, file := range files {
		marked := map[int]bool{}
		for _, group := range file.Comments {
			for _, c := range group.List {
				marked[fset.Position(c.Pos()).Line] = strings.HasPrefix(c.Text, anyOrder)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if walk, ok := n.(*ast.RangeStmt); ok && !marked[fset.Position(walk.Pos()).Line] && isMap(info.TypeOf(walk.X)) {
				found = append(found, fset.Position(walk.Pos()).String())
			}
			return true
		})
	}
	slices.Sort(found)
	return pkg, found
}

func isMap(t types.Type) bool {
	if t == nil { // not known
		return false
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

// known is all that is imported: cluster, and of the rest the name.
type known struct{ cluster *types.Package }

const words = "github.com/pgkeeper/pgkeeper/cluster"

func (k known) Import(path string) (*types.Package, error) {
	if path == words {
		return k.cluster, nil
	}
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}
