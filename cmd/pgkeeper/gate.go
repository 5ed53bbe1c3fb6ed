package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/guard/gate"
)

// gate confirms commits while the lease holds; the guard starts it and passes what it
// needs by descriptors.
func (a *app) gate() *cobra.Command {
	var form, level, runtimeDir string
	return a.command(verb{
		use: "gate", hidden: true, short: "started by pgkeeper guard",
		flags: func(f flagSet) {
			f.StringVar(&runtimeDir, "runtime-dir", "", "folder of the guard, to be seen in a list of processes")
			f.StringVar(&form, "log-type", "plain", "plain or json")
			f.StringVar(&level, "log-level", "INFO", "least level that is logged")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			spec, page, err := guard.InheritedGate()
			if err != nil {
				return err
			}
			return gate.Run(cmd.Context(), spec, page, logger(form, parseLevel(level), a.err))
		},
	})
}
