package testbed

import (
	"os/exec"
	"runtime"
)

// runLocked starts a program and waits for it on one thread: a parent-death
// signal follows the thread that forked, and idle threads end.
func runLocked(cmd *exec.Cmd, started chan<- error, exited chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}
	close(exited)
}
