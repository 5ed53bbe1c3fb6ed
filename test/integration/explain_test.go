//go:build integration

package integration

import (
	"fmt"
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
	// An agent is asked within a bound, and what it answers then is not what it decides a moment later.
	says := func(words string, ask func(ctx) (testbed.Result, error)) {
		t.Helper()
		b.Wait(10*time.Second, words, func(ctx ctx) string {
			if r, err := ask(ctx); err != nil || r.Code != 0 || !strings.Contains(r.Out, words) {
				return fmt.Sprint(r, err)
			}
			return ""
		})
	}
	ctl := func(verb string, args ...string) func(ctx) (testbed.Result, error) {
		return func(ctx ctx) (testbed.Result, error) { return b.Cluster.Ctl(ctx, verb, args...) }
	}
	run := func(args ...string) func(ctx) (testbed.Result, error) {
		return func(ctx ctx) (testbed.Result, error) { return b.Run(ctx, "", args...) }
	}
	says(primary.Name+": primary: it holds the lease", ctl("explain", primary.Name))
	says("still holds the lease for", ctl("explain", standby.Name))
	says(": "+primary.Name+" is the primary", ctl("explain", "--cluster"))
	says(`"reason": "following"`, run("explain", "-c", standby.ConfigPath(), "-o", "json"))

	b.Must(primary.KillAll())
	next := b.Primary(12*time.Second, primary)
	says(primary.Name+": its agent is down; at its last step", run("explain", "-c", primary.ConfigPath()))
	says(": "+next.Name+" is the primary", ctl("explain", "--cluster"))

	for _, n := range b.Nodes {
		says("are decided as they were recorded", run("replay", filepath.Join(n.StateDir(), recorder.Folder)))
	}
	says("promoting", run("replay", "--show", filepath.Join(next.StateDir(), recorder.Folder)))
}
