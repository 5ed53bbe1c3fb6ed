//go:build integration

package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/recorder"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// TestMembersExplainThemselvesAndTheirRecordingsReplay through a failover.
func TestMembersExplainThemselvesAndTheirRecordingsReplay(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	says := func(words string, r testbed.Result) {
		t.Helper()
		if !strings.Contains(r.Out, words) {
			t.Errorf("%q is not said: %v", words, r)
		}
	}
	run := func(args ...string) testbed.Result {
		t.Helper()
		r, err := b.Run(t.Context(), "", args...)
		b.Must(err)
		if r.Code != 0 {
			t.Errorf("pgkeeper %v: %v", args, r)
		}
		return r
	}
	says(primary.Name+": primary: it holds the lease", b.Ctl("explain", primary.Name))
	says("still holds the lease for", b.Ctl("explain", standby.Name))
	says(": "+primary.Name+" is the primary", b.Ctl("explain", "--cluster"))
	says(`"reason": "following"`, run("explain", "-c", standby.ConfigPath(), "-o", "json"))

	b.Must(primary.KillAll())
	next := b.Primary(12*time.Second, primary)
	says(primary.Name+": its agent is down; at its last step", run("explain", "-c", primary.ConfigPath()))
	says(": "+next.Name+" is the primary", b.Ctl("explain", "--cluster"))

	for _, n := range b.Nodes {
		says("are decided as they were recorded", run("replay", filepath.Join(n.StateDir(), recorder.Folder)))
	}
	says("promoting", run("replay", "--show", filepath.Join(next.StateDir(), recorder.Folder)))
}
