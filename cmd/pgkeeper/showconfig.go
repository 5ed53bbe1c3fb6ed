package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) showConfig() *cobra.Command {
	return a.command(verb{
		use: "show-config [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "print the dynamic configuration",
		run: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatYAML)
			if err != nil {
				return err
			}
			return o.ShowConfig(cmd.Context())
		},
	})
}
