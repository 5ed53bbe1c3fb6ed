package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// onOneCore puts every thread of this process, and those that will come, on the first
// core it may use.
func onOneCore() error {
	core, err := firstCore()
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1) // a second one would only spin
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &core); err != nil {
			return fmt.Errorf("bind a thread to one core: %w", err)
		}
	}
	return nil
}

// withUs puts a process on the core that onOneCore has put this one on.
func withUs(pid int) error {
	core, err := firstCore()
	if err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(pid, &core); err != nil {
		return fmt.Errorf("bind the server's process %d to one core: %w", pid, err)
	}
	return nil
}

func firstCore() (one unix.CPUSet, err error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return one, fmt.Errorf("ask which cores may be used: %w", err)
	}
	for core := 0; one.Count() == 0; core++ {
		if may.IsSet(core) {
			one.Set(core)
		}
	}
	return one, nil
}
