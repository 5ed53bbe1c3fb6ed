//go:build integration

package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// ctx keeps the conditions of waits short.
type ctx = context.Context

// loseAtMost is how long before the last row that a dead primary acknowledged another may
// be lost too: replication is asynchronous here, and these are no synchronous modes. A
// standby lags by a millisecond or two, unless the machine is too busy to run it. What
// every standby had before the fault may never be lost (bedtest's Spread).
const loseAtMost = 5 * time.Second

// shortTTL is the lease of tests that wait for its end. On a busy machine with the
// race detector a shorter one is lost for want of processor time: this one bears that a
// process does not run for four seconds.
const shortTTL = 6 * time.Second

// longTTL is the lease of tests in which something is to be quicker than its end.
const longTTL = 20 * time.Second

// The gaps that tests allow (GapAtMost) tell apart what happened, and do not measure:
// the bench does. Each leaves a busy machine some seconds.
const (
	// unnoticed is for faults that no client notices: nothing failed, and nothing hung.
	unnoticed = 4 * time.Second
	// planned is for restarts and hand-overs, which do not wait for a lease of longTTL.
	planned = longTTL / 2
	// afterLease is for a failover that waits for the end of one lease of shortTTL.
	afterLease = shortTTL + 10*time.Second
)

// count counts the lines that hold all words.
func count(text string, words ...string) int {
	found := 0
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found++
		}
	}
	return found
}

func status(b *bedtest.Bed, n *testbed.Node) testbed.Status {
	b.T().Helper()
	return b.Status(n)
}

// connect opens a session that ends with the test.
func connect(b *bedtest.Bed, n *testbed.Node) *pgx.Conn {
	b.T().Helper()
	session, err := n.Connect(b.T().Context())
	b.Must(err)
	b.T().Cleanup(func() { _ = session.Close(context.WithoutCancel(b.T().Context())) })
	return session
}

// pid waits for a process that runs, or is about to.
func pid(t *testing.T, n *testbed.Node, p testbed.Process) (id int) {
	t.Helper()
	err := testbed.Wait(t.Context(), 20*time.Second, string(p)+" of "+n.Name, func(ctx) string {
		var err error
		if id, err = n.PID(p); err != nil {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// awaitChange waits for a change of a key that is as wanted.
func awaitChange(t *testing.T, changes <-chan testbed.Change, limit time.Duration, what string, wanted func(testbed.Change) bool) testbed.Change {
	t.Helper()
	timer := time.NewTimer(max(limit, time.Minute))
	defer timer.Stop()
	for {
		select {
		case c, open := <-changes:
			if !open {
				t.Fatalf("the watch ended before %s", what)
			}
			if wanted(c) {
				return c
			}
		case <-timer.C:
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// fingerprint is names, sizes and times of all files in a folder.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func fmtInt(n int) string { return strconv.Itoa(n) }
