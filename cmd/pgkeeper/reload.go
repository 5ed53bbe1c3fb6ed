package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// minutes turns PostgreSQL's unit into Go's.
var minutes = strings.NewReplacer("min", "m")

func (a *app) reload() *cobra.Command {
	var selection ctl.Selection
	return a.command(verb{
		use: "reload CLUSTER [MEMBER...]", group: groupMembers, args: cobra.ArbitraryArgs,
		short: "make agents and their servers read their files again",
		flags: func(f flagSet) { roleFlag(f, &selection) },
		run: func(cmd *cobra.Command, args []string) error {
			if err := checkRole(selection); err != nil {
				return err
			}
			o, members, err := a.operatorForMembers(cmd.Context(), args)
			if err != nil {
				return err
			}
			selection.Members = members
			return o.Reload(cmd.Context(), selection)
		},
	})
}
