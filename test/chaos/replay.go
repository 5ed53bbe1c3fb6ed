package chaos

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pgkeeper/pgkeeper/recorder"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// replay feeds what an agent recorded through Decide again.
func replay(n *testbed.Node) (checked int, err error) {
	paths, err := recorder.Files(filepath.Join(n.StateDir(), recorder.Folder))
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return checked, err
		}
		count, first, err := recorder.Replay(f)
		_ = f.Close() // it was only read
		checked += count
		switch {
		case err != nil:
			return checked, fmt.Errorf("%s: %w", path, err)
		case first != nil:
			return checked, fmt.Errorf("%s: Decide does not decide as recorded: %v", path, first)
		}
	}
	return checked, nil
}
