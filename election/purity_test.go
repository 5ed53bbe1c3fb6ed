package election

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed are the packages that the pure rooms may import: none of them can look
// at a clock, a file, a network, or chance. time is for durations; its functions
// that look at the clock are forbidden below.
var allowed = []string{
	"cmp", "encoding/json", "errors", "fmt", "maps", "net/url", "slices", "strconv", "strings", "time",
	"github.com/pgkeeper/pgkeeper/cluster",
}

// clockUses are the functions of time that look at the clock or wait for it.
var clockUses = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer", "LoadLocation", "Local"}

// TestPurity: a decision is a function of data, held by what the code can reach:
// no import that brings a clock, I/O or chance, no goroutine, no channel.
func TestPurity(t *testing.T) {
	for _, dir := range []string{".", "../cluster"} {
		for path, file := range sources(t, dir) {
			for _, what := range impurities(file) {
				t.Errorf("%s: %s", path, what)
			}
		}
	}
}

// TestPurityIsSeen: the test above can fail.
func TestPurityIsSeen(t *testing.T) {
	const source = `package p
import ("os"; "time"; rnd "math/rand")
func f(c chan int) { go f(c); c <- 1; <-c; select {}; _ = time.Now(); _, _ = os.Open, rnd.Int }`
	file, err := parser.ParseFile(fset, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(impurities(file), "\n")
	for _, want := range []string{"imports os", "imports math/rand", "time.Now", "goroutine", "sends", "receives", "selects"} {
		if !strings.Contains(got, want) {
			t.Errorf("not seen: %s", want)
		}
	}
}

func impurities(file *ast.File) (found []string) {
	for _, imported := range file.Imports {
		if path := strings.Trim(imported.Path.Value, `"`); !slices.Contains(allowed, path) {
			found = append(found, "imports "+path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, "starts a goroutine")
		case *ast.SelectStmt:
			found = append(found, "selects")
		case *ast.SendStmt:
			found = append(found, "sends on a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				found = append(found, "receives from a channel")
			}
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clockUses, n.Sel.Name) {
				found = append(found, "uses time."+n.Sel.Name)
			}
		}
		return true
	})
	return found
}

// fset is where the parsed files' positions are.
var fset = token.NewFileSet()

// sources parses the product files of a folder.
func sources(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	paths, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	files := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		full := filepath.Join(dir, path)
		file, err := parser.ParseFile(fset, full, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files[full] = file
	}
	return files
}
