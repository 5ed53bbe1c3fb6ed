package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// testBinary is the compiled tests of one package, all mutants inside.
type testBinary struct {
	dir  string // of the package, with slashes, relative to the root
	path string
}

// build compiles the tests of dirs once, with every marked file replaced by its
// rewritten copy. tmp holds the copies and the binaries.
func build(ctx context.Context, root, tmp string, marks []mark, dirs []string) ([]testBinary, error) {
	overlay, err := writeOverlay(root, tmp, marks)
	if err != nil {
		return nil, err
	}
	binaries := make([]testBinary, 0, len(dirs))
	for i, dir := range dirs {
		b := testBinary{dir: dir, path: filepath.Join(tmp, strconv.Itoa(i)+".test")}
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", b.path, "./"+dir)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the mutants of %s: %w\n%s", dir, err, out)
		}
		binaries = append(binaries, b)
	}
	return binaries, nil
}

// writeOverlay rewrites the marked files and gives the path of the list that
// tells the compiler which copy stands for which file.
func writeOverlay(root, tmp string, marks []mark) (string, error) {
	edits := map[string][]edit{}
	for _, m := range marks {
		edits[m.file] = append(edits[m.file], m.edits...)
	}
	replace := map[string]string{}
	for file, list := range edits {
		original := filepath.Join(root, filepath.FromSlash(file))
		text, err := os.ReadFile(original)
		if err != nil {
			return "", err
		}
		text, err = rewrite(file, text, list)
		if err != nil {
			return "", fmt.Errorf("rewrite %s: %w", file, err)
		}
		replace[original] = filepath.Join(tmp, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replace[original], text, 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(tmp, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}
