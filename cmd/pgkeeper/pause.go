package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) pause() *cobra.Command {
	return a.pausing("pause [CLUSTER]", "maintenance mode: agents look on and touch nothing", true)
}

func (a *app) pausing(use, short string, on bool) *cobra.Command {
	var wait bool
	return a.command(verb{
		use: use, group: groupChange, args: cobra.MaximumNArgs(1), short: short,
		flags: func(f flagSet) { f.BoolVar(&wait, "wait", false, "return when every member has seen it") },
		run: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			o.Console.Progress = o.Console.Progress || wait
			return o.Pause(cmd.Context(), on, wait)
		},
	})
}
