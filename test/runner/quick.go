package main

import (
	"context"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// What a machine on which parts run beside each other takes at most to start a program, and to give a process a page of
// memory, in the median. Machines have been seen that take 2.6 to 15 ms and 12 to 22 us, idle, where 1 ms and under 1 us are
// usual: each cluster starts hundreds of programs, and there one more of anything made every process late by seconds. A
// cluster does then what it must, and none of what a test expects of it.
const (
	quickStart = 2 * time.Millisecond
	quickPage  = 4 * time.Microsecond
)

// pace is what a machine takes for both.
type pace struct{ start, page time.Duration }

func (p pace) slow() bool { return p.start > quickStart || p.page > quickPage }

// measurePace takes the medians of some tries.
func measurePace(ctx context.Context) pace {
	const tries = 21
	var starts, pages [tries]time.Duration
	for i := range tries {
		began := time.Now()
		_ = exec.CommandContext(ctx, "true").Run() // what fails for long is as telling
		starts[i] = time.Since(began)
		pages[i] = pageTime()
	}
	slices.Sort(starts[:])
	slices.Sort(pages[:])
	return pace{starts[tries/2], pages[tries/2]}
}

// pageTime is how long the first write to a page of memory takes; 0 when there is no memory.
func pageTime() time.Duration {
	const pages = 256
	size := syscall.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, pages*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return 0
	}
	began := time.Now()
	for i := range pages {
		memory[i*size] = 1
	}
	took := time.Since(began) / pages
	_ = syscall.Munmap(memory)
	return took
}
