package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// grave looks for the tombstone of an interrupted clone or rewind on a node that is in its
// place again; empty when there is none. A server runs in a directory whose tombstone
// stands only when its work was taken for done before it was durable, or when a start has
// passed it by (S5).
func grave(name, stateDir string) string {
	content, err := os.ReadFile(filepath.Join(stateDir, "tombstone"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return fmt.Sprintf("%s: look for a tombstone: %v", name, err)
	}
	return fmt.Sprintf("%s runs, and its directory has a tombstone (S5): %s", name, content)
}
