//go:build integration || bench

package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func itoa(n int) string { return strconv.Itoa(n) }

// lsnPadded is pg_waldump's form.
func lsnPadded(l cluster.LSN) string {
	return fmt.Sprintf("%X/%08X", uint64(l)>>32, uint64(l)&0xFFFFFFFF)
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(limit(t, patience))
	t.Cleanup(cancel)
	return ctx, cancel
}

func (n *node) read(name string) string {
	n.t.Helper()
	content, err := os.ReadFile(n.data(name))
	n.must(err)
	return string(content)
}

// dirs lists what was moved aside.
func (n *node) dirs() ([]string, error) { return filepath.Glob(n.o.DataDir + ".old-*") }

// freeze stops or continues every process of the server.
func (n *node) freeze(on bool) {
	sig := syscall.SIGCONT
	if on {
		sig = syscall.SIGSTOP
	}
	for _, pid := range n.processes() {
		_ = syscall.Kill(pid, sig)
	}
}

// processes are those that work in the data directory.
func (n *node) processes() (pids []int) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			continue
		}
		if ours, err := n.isServerProcess(pid); err == nil && ours {
			pids = append(pids, pid)
		}
	}
	return pids
}
