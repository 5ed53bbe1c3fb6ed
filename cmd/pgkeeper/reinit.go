package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) reinit() *cobra.Command {
	var options ctl.ReinitOptions
	return a.command(verb{
		use: "reinit CLUSTER [MEMBER...]", group: groupMembers, args: cobra.ArbitraryArgs, aliases: []string{"reinitialize"},
		short: "rebuild standbys from a fresh copy",
		flags: func(f flagSet) {
			roleFlag(f, &options.Selection)
			f.BoolVar(&options.Wait, "wait", false, "return when they stream again, and show progress")
			f.BoolVar(&options.FromLeader, "from-leader", false, "copy from the leader, not from another standby")
		},
		run: func(cmd *cobra.Command, args []string) error {
			if err := checkRole(options.Selection); err != nil {
				return err
			}
			o, members, err := a.operatorForMembers(cmd.Context(), args)
			if err != nil {
				return err
			}
			options.Members = members
			o.Console.Progress = o.Console.Progress || options.Wait
			return o.Reinit(cmd.Context(), options)
		},
	})
}
