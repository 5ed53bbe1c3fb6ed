package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) topology() *cobra.Command {
	w := &watching{options: ctl.ListOptions{Tree: true}}
	return a.command(verb{
		use: "topology [CLUSTER...]", group: groupLook, args: cobra.ArbitraryArgs,
		short: "show the members as a tree of who replicates from whom",
		flags: w.flags,
		run:   func(cmd *cobra.Command, args []string) error { return a.runList(cmd.Context(), w, args) },
	})
}
