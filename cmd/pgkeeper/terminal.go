package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/agent/clock"
)

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// withoutEcho runs read while a terminal does not show what is typed.
func withoutEcho(stream any, read func() (string, error)) (string, error) {
	f, ok := stream.(*os.File)
	if !ok || !isTerminal(stream) {
		return read()
	}
	before, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return read()
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &silent); err != nil {
		return read()
	}
	defer func() { _ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, before) }()
	return read()
}

// wallClock is the time of verbs: they talk to people, and nothing safe rests on
// it.
type wallClock struct{}

func (wallClock) Now() time.Time { return clock.Wall() }

func (wallClock) Wait(ctx context.Context, d time.Duration) error {
	clock.Sleep(ctx.Done(), d)
	return ctx.Err()
}
