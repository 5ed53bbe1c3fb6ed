package ctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Console is where a verb talks with its operator. Results go to Out, progress
// and questions to Err, so that Out can be piped.
type Console struct {
	In       io.Reader
	Out, Err io.Writer
	// Force answers every question with yes and asks for no value.
	Force bool
	// Progress shows how long steps come along.
	Progress bool
	Format   Format
	Style    Style

	once  sync.Once
	lines *bufio.Reader
}

// Clock is a verb's time: the wall clock for what people read, and pauses
// between two looks.
type Clock interface {
	Now() time.Time
	// Wait returns after d, or earlier with ctx's error.
	Wait(ctx context.Context, d time.Duration) error
}

// Operator runs verbs on one cluster.
type Operator struct {
	Cluster Cluster
	Console *Console
	Clock   Clock
}

// Say prints one line of a result.
func (c *Console) Say(format string, args ...any) { fmt.Fprintf(c.Out, format+"\n", args...) }

// Report prints one line of progress, when progress is wanted.
func (c *Console) Report(format string, args ...any) {
	if c.Progress {
		fmt.Fprintf(c.Err, format+"\n", args...)
	}
}

// Show writes a table in the console's format. What only the pretty form can
// carry, such as the reason why there is no leader, goes to Err in the others.
func (c *Console) Show(t Table) error {
	if err := t.Write(c.Out, c.Format, c.Style); err != nil {
		return err
	}
	if c.Format != FormatPretty && c.Format != "" {
		for _, line := range t.Footer {
			fmt.Fprintln(c.Err, line)
		}
	}
	return nil
}

// Ask asks for a value; an empty answer means fallback, and so does Force.
func (c *Console) Ask(question, fallback string) (string, error) {
	if c.Force {
		return fallback, nil
	}
	shown := question
	if fallback != "" {
		shown += " [" + fallback + "]"
	}
	fmt.Fprint(c.Err, shown+": ")
	answer, err := c.line()
	if err != nil {
		return "", fmt.Errorf("%q was not answered (standard input ended): give the value as a flag, or --force to ask nothing", question)
	}
	if answer == "" {
		return fallback, nil
	}
	return answer, nil
}

// Confirm asks a yes-or-no question; anything but yes is ErrAborted.
func (c *Console) Confirm(question string) error {
	if c.Force {
		return nil
	}
	fmt.Fprint(c.Err, question+" [y/N]: ")
	answer, err := c.line()
	if err != nil {
		fmt.Fprintln(c.Err)
		return fmt.Errorf("%w: the question was not answered (standard input ended); --force asks nothing", ErrAborted)
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return ErrAborted
}

func (c *Console) line() (string, error) {
	c.once.Do(func() { c.lines = bufio.NewReader(c.In) })
	text, err := c.lines.ReadString('\n')
	if err != nil && (text == "" || !errors.Is(err, io.EOF)) {
		return "", err
	}
	return strings.TrimSpace(text), nil
}

// until looks every step until done, ctx's end or an error of look. The last
// text that look gave is reported whenever it changes.
func (o *Operator) until(ctx context.Context, step time.Duration, look func(context.Context) (done bool, progress string, err error)) error {
	last := ""
	for {
		done, progress, err := look(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if progress != "" && progress != last {
			o.Console.Report("%s", progress)
			last = progress
		}
		if done {
			return nil
		}
		if err := o.Clock.Wait(ctx, step); err != nil {
			if last == "" {
				return err
			}
			return fmt.Errorf("%w; last seen: %s", err, last)
		}
	}
}
