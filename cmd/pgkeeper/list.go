package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// watching are list's and topology's flags to repeat.
type watching struct {
	every    float64
	standard bool
	format   string
	options  ctl.ListOptions
}

func (w *watching) flags(f flagSet) {
	f.BoolVarP(&w.standard, "watch-default", "W", false, "repeat every 2 seconds")
	f.Float64VarP(&w.every, "watch", "w", 0, "repeat every `SECONDS`")
}

func (a *app) list() *cobra.Command {
	w := &watching{}
	return a.command(verb{
		use: "list [CLUSTER...]", group: groupLook, args: cobra.ArbitraryArgs, aliases: []string{"ls"}, suggest: []string{"status", "show"},
		short:   "show the members: role, state, timeline, positions and lag",
		example: "  pgkeeper list\n  pgkeeper -d etcd3://127.0.0.1:2379 list batman -o json\n  pgkeeper list -w 1",
		flags: func(f flagSet) {
			w.flags(f)
			f.StringVarP(&w.format, "format", "f", "", "same as --output")
			f.BoolVarP(&w.options.Extended, "extended", "e", false, "show every column")
			f.BoolVarP(&w.options.Verbose, "verbose", "v", false, "show who weakens synchronous_commit, and how many waits were cancelled")
			f.BoolVarP(&w.options.Timestamp, "timestamp", "t", false, "show when it was looked")
		},
		run: func(cmd *cobra.Command, args []string) error { return a.runList(cmd.Context(), w, args) },
	})
}

func (a *app) runList(ctx context.Context, w *watching, args []string) error {
	a.useFormat(w.format)
	if len(args) == 0 {
		args = []string{""}
	}
	operators := make([]*ctl.Operator, 0, len(args))
	for _, name := range args {
		o, err := a.operator(ctx, name, ctl.FormatPretty)
		if err != nil {
			return err
		}
		operators = append(operators, o)
	}
	return a.repeat(ctx, w, func() error {
		for _, o := range operators {
			if err := o.List(ctx, w.options); err != nil {
				return err
			}
		}
		return nil
	})
}

// useFormat takes patronictl's -f for -o.
func (a *app) useFormat(format string) {
	if format != "" && a.options.output == "" {
		a.options.output = format
	}
}

// repeat shows once, or again and again until interrupted; then a failure is
// shown and does not end the watch, for what is watched may be in trouble.
func (a *app) repeat(ctx context.Context, w *watching, show func() error) error {
	every := time.Duration(w.every * float64(time.Second))
	if w.standard && every == 0 {
		every = 2 * time.Second
	}
	if every < 0 {
		return usagef("-w %v: want a number of seconds above 0", w.every)
	}
	if every == 0 {
		return show()
	}
	for {
		if isTerminal(a.out) {
			fmt.Fprint(a.out, "\x1b[H\x1b[2J")
		}
		if err := show(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(a.err, "Error: "+oneLine(err))
		}
		if wallClock.Wait(wallClock{}, ctx, every) != nil {
			return nil
		}
	}
}
