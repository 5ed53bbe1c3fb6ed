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

// loseAtMost is how long before the death of a whole node an acknowledged row may
// be lost: replication is asynchronous here, and these are no synchronous modes. A
// standby lags by a millisecond or two, unless the machine is too busy to run it.
const loseAtMost = 500 * time.Millisecond

// shortTTL is the lease of tests that wait for its end. On a busy machine with the
// race detector a shorter one is lost for want of processor time.
const shortTTL = 4 * time.Second

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
	s, err := n.Status(b.T().Context())
	b.Must(err)
	return s
}

// connect opens a session that ends with the test.
func connect(b *bedtest.Bed, n *testbed.Node) *pgx.Conn {
	b.T().Helper()
	session, err := n.Connect(b.T().Context())
	b.Must(err)
	b.T().Cleanup(func() { _ = session.Close(context.WithoutCancel(b.T().Context())) })
	return session
}

func pid(t *testing.T, n *testbed.Node, p testbed.Process) int {
	t.Helper()
	id, err := n.PID(p)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// awaitChange waits for a change of a key that is as wanted.
func awaitChange(t *testing.T, changes <-chan testbed.Change, limit time.Duration, what string, wanted func(testbed.Change) bool) testbed.Change {
	t.Helper()
	timer := time.NewTimer(limit)
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
