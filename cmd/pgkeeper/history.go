package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) history() *cobra.Command {
	var format string
	return a.command(verb{
		use: "history [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "show the promotions so far",
		flags: func(f flagSet) { f.StringVarP(&format, "format", "f", "", "same as --output") },
		run: func(cmd *cobra.Command, args []string) error {
			a.useFormat(format)
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			return o.History(cmd.Context())
		},
	})
}
