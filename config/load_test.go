package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares with a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), run with -update if that is meant:\n%s", file, diff)
	}
}

func TestBrokenFilesGetEveryProblemNamed(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no broken files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yml"), func(t *testing.T) {
			c, problems, err := Load(file, nil)
			if err != nil || c == nil {
				t.Fatalf("Load = %v, %v", c, err)
			}
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(problems.String(), here, "$PWD")
			if strings.Contains(text, "never show this") {
				t.Errorf("a problem shows a secret:\n%s", text)
			}
			golden(t, strings.TrimSuffix(file, ".yml")+".golden", text)
		})
	}
}

func TestTheConfigurationPageIsInStep(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "configuration.md"), Page())
}
