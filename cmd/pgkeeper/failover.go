package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) failover() *cobra.Command {
	var options ctl.FailoverOptions
	var wait bool
	return a.command(verb{
		use: "failover [CLUSTER]", group: groupChange, args: cobra.MaximumNArgs(1),
		short: "make a named member primary although there is no healthy leader",
		long: `Make a named member primary although there is no healthy leader. What it has not received is lost.
Only --force also says that the old primary is certainly dead, and gives up what synchronous commits rest on.`,
		flags: func(f flagSet) {
			f.StringVar(&options.Candidate, "candidate", "", "the `MEMBER` to become primary")
			waitFlag(f, &wait)
		},
		run: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			o.Console.Progress = o.Console.Progress || wait
			return o.Failover(cmd.Context(), options)
		},
	})
}
