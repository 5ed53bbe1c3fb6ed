package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) flush() *cobra.Command {
	var selection ctl.Selection
	return a.command(verb{
		use: "flush [CLUSTER] [MEMBER...] restart|switchover", group: groupChange, args: cobra.MinimumNArgs(1),
		short: "withdraw what is scheduled",
		flags: func(f flagSet) { roleFlag(f, &selection) },
		run: func(cmd *cobra.Command, args []string) error {
			what := args[len(args)-1]
			if !slices.Contains([]string{"restart", "switchover"}, what) {
				return usagef("flush %s: the last word says what to withdraw, restart or switchover", what)
			}
			if err := checkRole(selection); err != nil {
				return err
			}
			o, members, err := a.operatorForMembers(cmd.Context(), args[:len(args)-1])
			if err != nil {
				return err
			}
			selection.Members = members
			return o.Flush(cmd.Context(), what, selection)
		},
	})
}
