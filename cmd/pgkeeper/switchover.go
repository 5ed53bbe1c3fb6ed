package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) switchover() *cobra.Command {
	var options ctl.SwitchoverOptions
	var wait bool
	return a.command(verb{
		use: "switchover [CLUSTER]", group: groupChange, args: cobra.MaximumNArgs(1),
		short:   "move the primary to another member while both are alive; loses nothing",
		example: "  pgkeeper switchover\n  pgkeeper switchover --candidate pg2 --force\n  pgkeeper switchover --scheduled 2026-12-31T23:00:00+01:00 --force",
		flags: func(f flagSet) {
			f.StringVar(&options.Leader, "leader", "", "the `MEMBER` that leads now, as a check")
			f.StringVar(&options.Leader, "primary", "", "same as --leader")
			f.StringVar(&options.Candidate, "candidate", "", "the `MEMBER` to become primary (default: the best)")
			f.StringVar(&options.Scheduled, "scheduled", "", "`WHEN`, ISO 8601 with a zone (default: now)")
			waitFlag(f, &wait)
		},
		run: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			o.Console.Progress = o.Console.Progress || wait
			return o.Switchover(cmd.Context(), options)
		},
	})
}

// waitFlag is --wait where a verb waits in any case: it asks for the progress.
func waitFlag(f flagSet, wait *bool) {
	f.BoolVar(wait, "wait", false, "show progress (it is waited for in any case)")
}
