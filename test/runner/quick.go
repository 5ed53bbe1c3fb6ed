package main

import (
	"context"
	"os/exec"
	"slices"
	"time"
)

// quickStart is how long a machine on which parts run beside each other takes to start a program, in the median. Where it
// takes longer (4 to 15 ms have been seen, where one more process made all the others late) time is too dear: a cluster whose every
// process is late by seconds does what it must, and none of what a test expects of it.
const quickStart = 2 * time.Millisecond

// starts are how often a program is started to find that out.
const starts = 21

// startTime is the median time to start a program that does nothing, and to see its end.
func startTime(ctx context.Context) time.Duration {
	took := make([]time.Duration, starts)
	for i := range took {
		began := time.Now()
		_ = exec.CommandContext(ctx, "true").Run() // what fails for long is as telling
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[starts/2]
}
