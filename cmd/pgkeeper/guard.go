package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/guard"
)

// guard is the parent of the postmaster; the supervisor starts it. It reads no
// configuration, so everything it needs is on its command line.
func (a *app) guard() *cobra.Command {
	var options guard.Options
	var form, level string
	return a.command(verb{
		use: "guard", hidden: true, short: "started by pgkeeper agent",
		flags: func(f flagSet) {
			f.StringVar(&options.RuntimeDir, "runtime-dir", "", "folder of the socket")
			f.StringVar(&options.StateDir, "state-dir", "", "folder that is kept")
			f.IntVar(&options.ParentPipe, "parent-pipe", 0, "descriptor of a pipe whose end stops the server")
			f.StringVar(&form, "log-type", "plain", "plain or json")
			f.StringVar(&level, "log-level", "INFO", "least level that is logged")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			options.UntilParentExits = options.ParentPipe > 0
			options.Version = version
			options.Gate = []string{"pgkeeper", "gate", "--runtime-dir", options.RuntimeDir, "--log-type", form, "--log-level", level}
			options.Log = logger(form, parseLevel(level), a.err)
			return guard.Run(cmd.Context(), options)
		},
	})
}
