package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/routing/dsn"
)

func targetFlags(f flagSet, t *ctl.Target) {
	f.StringVarP(&t.Role, "role", "r", "", "the first member with this `ROLE` (leader, primary, standby-leader, replica, standby, any)")
	f.StringVarP(&t.Member, "member", "m", "", "this `MEMBER`")
}

func checkTarget(t ctl.Target) error {
	if t.Role == "" {
		return nil
	}
	if err := ctl.CheckRole(t.Role); err != nil {
		return usageError{err}
	}
	return nil
}

// dialling are the flags of dsn that make a driver's string.
type dialling struct {
	driver, via, at string
	options         dsn.Options
}

func (a *app) dsn() *cobra.Command {
	var target ctl.Target
	d := &dialling{}
	return a.command(verb{
		use: "dsn [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "print where to connect: host=... port=..., or the string of a driver",
		long: `Print where to connect: host=... port=... of one member, or with --driver the connection string of a driver, to all
members, or with --via to HAProxy or PgBouncer in front of them (then no cluster is asked). What the string cannot say
stands on standard error. No password is printed.`,
		example: "  pgkeeper dsn -r replica\n  pgkeeper dsn --driver pgx --database app --user web\n  pgkeeper dsn --driver jdbc --via haproxy --at lb.example --read",
		flags: func(f flagSet) {
			targetFlags(f, &target)
			f.StringVar(&d.driver, "driver", "", "the string of this `DRIVER`: libpq, pgx, jdbc, npgsql, asyncpg or sqlalchemy")
			f.StringVar(&d.via, "via", "", "through `haproxy` or pgbouncer instead of to the members")
			f.StringVar(&d.at, "at", "127.0.0.1", "with --via: its `HOST[:PORT[:READPORT]]` (ports 5000 and 5001, or 6432)")
			f.BoolVar(&d.options.Read, "read", false, "for reads: a standby, and the primary when there is none")
			f.StringVar(&d.options.Database, "database", "app", "the `DATABASE`; PgBouncer has it a second time as DATABASE_ro")
			f.StringVar(&d.options.User, "user", "app", "the `ROLE` to log in as")
		},
		run: func(cmd *cobra.Command, args []string) error {
			if d.driver != "" {
				return a.runDriver(cmd.Context(), d, target, one(args))
			}
			if d.via != "" || d.options.Read {
				return usagef("--via and --read make a driver's string: say which with --driver")
			}
			if err := checkTarget(target); err != nil {
				return err
			}
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			return o.DSN(cmd.Context(), target)
		},
	})
}

func (a *app) runDriver(ctx context.Context, d *dialling, target ctl.Target, name string) error {
	d.options.Driver, d.options.Via = dsn.Driver(d.driver), dsn.Via(d.via)
	switch {
	case target != ctl.Target{}:
		return usagef("--driver makes a string to all members: --role and --member choose one of them")
	case !slices.Contains(dsn.Drivers(), d.options.Driver):
		return usagef("--driver %s: choose from %v", d.driver, dsn.Drivers())
	}
	if err := a.fillHosts(ctx, d, name); err != nil {
		return err
	}
	text, notes, err := dsn.String(d.options)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintln(a.out, text)
	for _, note := range notes {
		fmt.Fprintln(a.err, "note: "+note)
	}
	return nil
}

// fillHosts asks the cluster for its members, or takes what stands in front.
func (a *app) fillHosts(ctx context.Context, d *dialling, name string) error {
	ports := map[dsn.Via][2]int{dsn.HAProxy: {5000, 5001}, dsn.PgBouncer: {6432, 6432}}
	standard, known := ports[d.options.Via]
	switch {
	case known:
		host, given, err := splitPorts(d.at, standard[0], standard[1])
		if err != nil {
			return usagef("--at %s: %w", d.at, err)
		}
		port := given[0]
		if d.options.Read && d.options.Via == dsn.HAProxy {
			port = given[1]
		}
		d.options.Hosts = []dsn.Host{{Name: host, Port: port}}
		return nil
	case d.options.Via != dsn.Direct:
		return usagef("--via %s: choose haproxy or pgbouncer", d.via)
	}
	o, err := a.operator(ctx, name, ctl.FormatPretty)
	if err != nil {
		return err
	}
	places, err := o.Places(ctx)
	if err != nil {
		return err
	}
	for _, p := range places.Members {
		d.options.Hosts = append(d.options.Hosts, dsn.Host{Name: p.Host, Port: p.Port})
	}
	return nil
}
