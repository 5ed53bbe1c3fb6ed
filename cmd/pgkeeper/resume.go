package main

import "github.com/spf13/cobra"

func (a *app) resume() *cobra.Command {
	return a.pausing("resume [CLUSTER]", "end maintenance mode", false)
}
