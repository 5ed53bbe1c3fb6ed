package docs

import (
	"os"
	"path/filepath"
	"testing"
)

// root is the repository.
const root = "../.."

// page reads one page of the repository.
func page(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
