package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/demo"
)

func (a *app) demo() *cobra.Command {
	options := demo.Options{Replicas: 2}
	return a.command(verb{
		use: "demo", group: groupNode,
		short: "bring a cluster up on this machine, kill its primary, watch it heal",
		long: `Bring a cluster up on this machine: etcd, a primary and standbys on free loopback ports, and HAProxy where it is
installed. Then kill the primary, start it again, switch over and add a node, while a client writes; and count its rows.
Leaves no process and no file behind. CI=true implies --exit.`,
		flags: func(f flagSet) {
			f.IntVar(&options.Replicas, "replicas", options.Replicas, "standbys at the start")
			f.StringVar(&options.Dir, "dir", "", "keep everything in this empty `FOLDER` (default: a temporary one)")
			f.BoolVar(&options.NoTour, "no-tour", false, "bring the cluster up and do nothing to it")
			f.BoolVar(&options.Keep, "keep", false, "leave the files behind")
			f.BoolVar(&options.Exit, "exit", false, "end after the tour")
		},
		run: func(cmd *cobra.Command, _ []string) error { return a.runDemo(cmd.Context(), options) },
	})
}

func (a *app) runDemo(ctx context.Context, options demo.Options) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if ci := a.getenv("CI"); ci == "true" || ci == "1" {
		options.Exit = true
	}
	options.Program, options.Out, options.Env, options.Clock = program, a.out, a.env, wallClock{}
	options.Terminal, options.Style = isTerminal(a.out), a.style()
	return demo.Run(ctx, options)
}
