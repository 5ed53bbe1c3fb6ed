package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/recorder"
)

// exitUnreadable says that a recording could not be read, as a wrong command line
// does: nothing was compared.
const exitUnreadable = exitUsage

func (a *app) replay() *cobra.Command {
	var show bool
	return a.command(verb{
		use: "replay FILE...", group: groupLook, args: cobra.MinimumNArgs(1),
		short: "decide again what an agent recorded, and show the first difference",
		long: `Run recordings (files of <state_dir>/recorder, or that folder) through the decision again, offline. Every recorded
observation must be decided as it was recorded; the first difference is shown.

Exit codes: 0 all the same; 1 there is a difference; 2 a recording cannot be read.`,
		example: "  pgkeeper replay /var/lib/postgresql/15/main.pgkeeper/recorder\n  pgkeeper replay --show steps-00000003.jsonl",
		flags:   func(f flagSet) { f.BoolVar(&show, "show", false, "print the decisions as a story instead") },
		run:     func(_ *cobra.Command, args []string) error { return a.runReplay(args, show) },
	})
}

func (a *app) runReplay(args []string, show bool) error {
	names, err := recordings(args)
	if err != nil {
		return a.unreadable(err)
	}
	total := 0
	for _, name := range names {
		checked, first, err := a.replayFile(name, show)
		total += checked
		switch {
		case errors.Is(err, errShown):
			return err
		case err != nil:
			return a.unreadable(fmt.Errorf("%s: %w", name, err))
		case first != nil:
			fmt.Fprintf(a.out, "%s: after %d steps that are decided the same: %s\n", name, checked, first)
			return exitCode(exitFailed)
		}
	}
	if !show {
		fmt.Fprintf(a.out, "%d steps in %d files are decided as they were recorded\n", total, len(names))
	}
	return nil
}

// errShown: the story could not be printed.
var errShown = errors.New("print the story")

func (a *app) replayFile(name string, show bool) (checked int, first *recorder.Difference, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	if !show {
		return recorder.Replay(file)
	}
	if err := recorder.Story(a.out, recorder.Read(file)); err != nil && !errors.Is(err, recorder.ErrUnreadable) {
		return 0, nil, fmt.Errorf("%w: %w", errShown, err)
	} else if err != nil {
		return 0, nil, err
	}
	return 0, nil, nil
}

// recordings opens folders up into their files, oldest first.
func recordings(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			names = append(names, arg)
			continue
		}
		inside, err := recorder.Files(arg)
		if err != nil {
			return nil, err
		}
		if len(inside) == 0 {
			return nil, fmt.Errorf("%s holds no recording: want steps-*.jsonl, as in the folder recorder of a state directory", arg)
		}
		names = append(names, inside...)
	}
	return names, nil
}

func (a *app) unreadable(err error) error {
	fmt.Fprintln(a.err, "Error: "+oneLine(err))
	return exitCode(exitUnreadable)
}
