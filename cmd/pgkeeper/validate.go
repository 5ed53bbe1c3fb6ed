package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/postgres"
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
has the programs, the user and the directories it names. Nothing is started and no other machine is reached.`,
		flags: func(f flagSet) {
			f.BoolVar(&syntaxOnly, "ignore-machine", false, "check the file only, not this machine")
		},
		run: func(_ *cobra.Command, args []string) error {
			path := one(args)
			if path == "" {
				path = a.configPath()
			}
			if path == "" {
				return usagef("which file? give it as an argument or with -c")
			}
			return a.runValidate(path, syntaxOnly)
		},
	})
}

func (a *app) runValidate(path string, syntaxOnly bool) error {
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
	if c != nil && !syntaxOnly {
		for _, line := range ctl.CheckMachine(c) {
			fmt.Fprintln(a.err, "error: "+line)
			bad++
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
