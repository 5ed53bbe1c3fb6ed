package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/postgres"
	"github.com/pgkeeper/pgkeeper/restapi"
)

// What it means that a data directory, or its WAL or a tablespace, cannot be renamed.
const (
	immovableMeans = "so a clone removes what is there, once the leader has proved a newer history, and cannot move it aside"
	immovableFix   = "use a directory below, which the server's user may rename"
)

func (a *app) validate() *cobra.Command {
	var syntaxOnly bool
	return a.command(verb{
		use: "validate [FILE]", group: groupNode, args: cobra.MaximumNArgs(1),
		short: "check a configuration, and that this machine has what it names",
		long: `Check a configuration: every key, value and rule, all at once, with file, line and fix; and that this machine
has the programs, the user, the directories and the certificates it names. PostgreSQL itself reads the parameters of the server, of
this file and of bootstrap.dcs. No server is started and no other machine is reached.`,
		flags: func(f flagSet) {
			f.BoolVar(&syntaxOnly, "ignore-machine", false, "check the file only, not this machine")
		},
		run: func(cmd *cobra.Command, args []string) error {
			path := one(args)
			if path == "" {
				path = a.configPath()
			}
			if path == "" {
				return usagef("which file? give it as an argument or with -c")
			}
			return a.runValidate(cmd.Context(), path, syntaxOnly)
		},
	})
}

func (a *app) runValidate(ctx context.Context, path string, syntaxOnly bool) error {
	c, problems, err := config.Load(path, a.env)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	bad := 0
	for _, p := range problems {
		fmt.Fprintf(a.err, "%s: %s\n", p.Severity, p)
		if p.Severity == config.Error || p.Unknown {
			bad++
		}
	}
	wrong := func(err error) {
		fmt.Fprintln(a.err, "error: "+oneLine(err))
		bad++
	}
	if c != nil {
		if err := access(c.RESTAPI).Check(); err != nil {
			wrong(err)
		}
	}
	if c != nil && !syntaxOnly {
		missing := ctl.CheckMachine(c)
		for _, line := range missing {
			wrong(errors.New(line))
		}
		for _, err := range checkCertificates(c) {
			wrong(err)
		}
		switch err := agent.TryServer(ctx, c); {
		case errors.Is(err, postgres.ErrParameter):
			wrong(err)
		case err != nil && len(missing) == 0: // else it is known by now why nothing can be tried
			fmt.Fprintf(a.err, "warning: postgresql.parameters were not tried: %s\n", oneLine(err))
		}
		for _, f := range ctl.CheckPooler(c) {
			fmt.Fprintf(a.err, "%s: %s: %s: %s\n", f.Severity, f.Where, f.What, f.Fix)
			if f.Severity == ctl.SeverityError {
				bad++
			}
		}
		for _, why := range postgres.Immovables(c.PostgreSQL.DataDir) {
			fmt.Fprintf(a.err, "warning: postgresql.data_dir: %s: %s; %s\n", why, immovableMeans, immovableFix)
		}
	}
	switch {
	case bad == 1:
		return errors.New("1 problem in " + path)
	case bad > 1:
		return fmt.Errorf("%d problems in %s", bad, path)
	}
	fmt.Fprintf(a.out, "%s is valid\n", path)
	return nil
}

// checkCertificates loads what an agent of this configuration would: its own certificates, and those it goes to etcd and to other
// agents with.
func checkCertificates(c *config.Config) (all []error) {
	silent := slog.New(slog.DiscardHandler)
	if c.RESTAPI.CertFile != "" {
		if _, err := restapi.NewCertificates((&surface{log: silent}).tlsOptions(c.RESTAPI)); err != nil {
			all = append(all, err)
		}
	}
	if _, err := etcdOptions(c.Etcd, silent); err != nil {
		all = append(all, err)
	}
	if _, err := peerTransport(c, silent); err != nil && len(all) == 0 { // it has files of both
		all = append(all, err)
	}
	return all
}
