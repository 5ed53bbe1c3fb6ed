package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) version() *cobra.Command {
	return a.command(verb{
		use: "version [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "print the version, and with a cluster the versions of its members",
		run: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && a.options == (globals{}) {
				a.printVersion(a.out)
				return nil
			}
			console, err := a.console(ctl.FormatPretty)
			if err != nil {
				return err
			}
			to := a.out
			if console.Format != ctl.FormatPretty {
				to = a.err // a program reads the members' table alone
			}
			a.printVersion(to)
			return a.memberVersions(cmd.Context(), one(args))
		},
	})
}

func (a *app) printVersion(to io.Writer) {
	built := ""
	if commit != "" {
		built = ", " + commit
	}
	fmt.Fprintf(to, "pgkeeper %s (speaks Patroni %s%s, %s)\n", version, cluster.PatroniVersion, built, runtime.Version())
}

func (a *app) memberVersions(ctx context.Context, name string) error {
	o, err := a.operator(ctx, name, ctl.FormatPretty)
	if err != nil {
		return err
	}
	probe, ok := o.Cluster.(*ctl.API)
	if !ok { // through the store the members' own addresses are asked
		s := &source{}
		if path := a.configPath(); path != "" {
			if err := a.readConfig(s, path); err != nil {
				return err
			}
		}
		if err := a.useAPI(s, defaultAPI); err != nil {
			return err
		}
		probe = s.api
	}
	return o.Versions(ctx, func(ctx context.Context, members []ctl.Member) map[string]ctl.Status {
		return ctl.Statuses(ctx, probe, members)
	})
}
