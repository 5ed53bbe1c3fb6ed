package pgbouncer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// The dead man's switch is a process that knows what was paused, and resumes it when
// nobody tells it in time that this has been done. It outlives the driver's process.

// Spec is what a switch is told, on its input.
type Spec struct {
	Admin     string        `json:"admin"`
	Databases []string      `json:"databases"`
	After     time.Duration `json:"after_ns"`
}

// deadman is the driver's end of one.
type deadman struct {
	in io.WriteCloser
}

// arm starts a switch: command runs Deadman.
func arm(command []string, spec Spec) (*deadman, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends the agent must not end it
	cmd.Dir, cmd.Env = "/", []string{}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	line, err := json.Marshal(spec)
	if err == nil {
		_, err = in.Write(append(line, '\n'))
	}
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	return &deadman{in}, nil
}

// disarm tells it that all has been resumed.
func (d *deadman) disarm() {
	if d != nil {
		_, _ = d.in.Write([]byte(resumed + "\n")) // it has ended: its time has passed
		_ = d.in.Close()
	}
}

const (
	resumed = "resumed"
	// lastTries bounds how long a switch tries to resume what it must; retryPause is
	// between two tries, commandLimit bounds one.
	lastTries    = 5 * time.Minute
	retryPause   = time.Second
	commandLimit = 5 * time.Second
)

// Deadman is the body of a switch. It returns nil when it was disarmed, or has resumed
// everything; wait waits for a time, or until ctx ends.
func Deadman(ctx context.Context, in io.Reader, wait func(ctx context.Context, d time.Duration)) error {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to resume: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(first, &spec); err != nil {
		return fmt.Errorf("read what to resume: %w", err)
	}
	c, err := newConsole(spec.Admin)
	if err != nil {
		return err
	}
	disarmed, armed := context.WithCancel(ctx)
	defer armed()
	go func() {
		if word, err := lines.ReadString('\n'); err == nil && word == resumed+"\n" {
			armed()
		}
	}()
	wait(disarmed, spec.After)
	if disarmed.Err() != nil {
		return ctx.Err()
	}
	for tried := time.Duration(0); ; tried += retryPause {
		if err = resumeAll(ctx, c, spec.Databases); err == nil || tried >= lastTries || ctx.Err() != nil {
			return err
		}
		wait(ctx, retryPause)
	}
}

// resumeAll resumes every database, also after one failed.
func resumeAll(ctx context.Context, c console, databases []string) error {
	var all error
	for _, name := range databases {
		limited, cancel := context.WithTimeout(ctx, commandLimit)
		all = errors.Join(all, c.resume(limited, name))
		cancel()
	}
	return all
}
