package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pgkeeper/pgkeeper/recorder"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// replay feeds what an agent recorded through Decide again: that of the program that
// ran, since this test may have been built from other code.
func replay(ctx context.Context, c *testbed.Cluster, n *testbed.Node) (checked int, err error) {
	r, err := c.Run(ctx, "", "replay", filepath.Join(n.StateDir(), recorder.Folder))
	switch {
	case err != nil:
		return 0, err
	case r.Code != 0:
		return 0, fmt.Errorf("replay what was recorded: %s", strings.TrimSpace(r.Out+r.Err))
	}
	if _, err := fmt.Sscan(r.Out, &checked); err != nil {
		return 0, fmt.Errorf("replay what was recorded: no number in %q", r.Out)
	}
	return checked, nil
}
