package testbed

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/demo"
)

func TestOnlyProcessesOfTheNodeAreHit(t *testing.T) {
	dir := t.TempDir()
	n := &Node{Name: "pg1", dir: dir}
	if err := n.SignalPID(os.Getpid(), unix.SIGCONT); err == nil {
		t.Error("this test is no process of the node")
	}
	child := exec.CommandContext(t.Context(), "sleep", "60")
	child.Dir = dir
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	err := Wait(t.Context(), 30*time.Second, "the child to be found by its folder", func(context.Context) string {
		if !slices.Contains(demo.ProcessesOf(dir), child.Process.Pid) {
			return "not found"
		}
		return ""
	})
	if err != nil {
		t.Error(err)
	}
	if err := n.KillAll(); err != nil {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	if left := demo.ProcessesOf(dir); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}
