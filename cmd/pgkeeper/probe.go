package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/agent/probe"
)

// probe asks whether the server and its disks answer; the worker starts it and tells it
// what to probe on its input.
func (a *app) probe() *cobra.Command {
	var runtimeDir string
	return a.command(verb{
		use: "probe", hidden: true, short: "started by pgkeeper agent-worker",
		flags: func(f flagSet) {
			f.StringVar(&runtimeDir, "runtime-dir", "", "folder of the agent, to be seen in a list of processes")
		},
		run: func(cmd *cobra.Command, _ []string) error { return probe.Run(cmd.Context(), a.in, a.out) },
	})
}
