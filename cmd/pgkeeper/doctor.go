package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/postgres"
	"github.com/pgkeeper/pgkeeper/routing/doctor"
)

// examination are the flags of doctor.
type examination struct {
	haproxy, pgbouncer, pgpool, files []string
	offline                           bool
	connections, poolers              int
	query                             ctl.QueryOptions
}

func (a *app) doctor() *cobra.Command {
	e := &examination{}
	return a.command(verb{
		use: "doctor [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "look for what will hurt in the next failover, and say what to do about it",
		long: `Look at the cluster (agents, servers, roles, slots, archive, clocks, etcd, both configurations) and at files of yours that
stand around it. Each finding says where, what will happen, and what to do instead; docs/deploy.md lists them all.
Nothing is changed.

Exit codes: 0 nothing but notes; 1 at least one error or warning, or something that could not be looked at.`,
		example: "  pgkeeper -c pgkeeper.yml doctor --haproxy /etc/haproxy/haproxy.cfg --pgbouncer /etc/pgbouncer/pgbouncer.ini\n  pgkeeper doctor --offline --file docker-compose.yml --file init.sh",
		flags:   e.flags,
		run:     func(cmd *cobra.Command, args []string) error { return a.runDoctor(cmd.Context(), e, one(args)) },
	})
}

func (e *examination) flags(f flagSet) {
	f.StringArrayVarP(&e.haproxy, "haproxy", "", nil, "a haproxy.cfg, `FILE`")
	f.StringArrayVarP(&e.pgbouncer, "pgbouncer", "", nil, "a pgbouncer.ini, `FILE`, with what it includes")
	f.StringArrayVarP(&e.pgpool, "pgpool", "", nil, "a pgpool.conf, `FILE`")
	f.StringArrayVarP(&e.files, "file", "f", nil, "a compose file, script or SQL, `FILE`: known mistakes in its text")
	f.BoolVar(&e.offline, "offline", false, "files only: reach no cluster")
	f.IntVar(&e.poolers, "poolers", 1, "`NUMBER` of poolers that run with each --pgbouncer or --pgpool file, one beside each member for example")
	f.IntVar(&e.connections, "max-connections", 0, "max_connections the files are held against (default: the servers', else 100)")
	f.StringVarP(&e.query.Username, "username", "U", "", "`ROLE` to ask servers as (default: the superuser of -c, else as psql)")
}

func (a *app) runDoctor(ctx context.Context, e *examination, name string) error {
	console, err := a.console(ctl.FormatPretty)
	if err != nil {
		return err
	}
	if e.offline && len(e.haproxy)+len(e.pgbouncer)+len(e.pgpool)+len(e.files) == 0 && a.configPath() == "" {
		return usagef("--offline looks at files only: name some (--haproxy, --pgbouncer, --pgpool, --file, -c)")
	}
	if e.poolers < 1 {
		return usagef("--poolers %d: there is at least one", e.poolers)
	}
	found, limits, err := a.examine(ctx, e, name)
	if err != nil {
		return err
	}
	files, err := e.readFiles(limits)
	if err != nil {
		return err
	}
	for _, f := range files {
		found = append(found, ctl.Finding{Severity: string(f.Severity), Check: f.Check, Where: f.Where, What: f.What, Fix: f.Fix})
	}
	return a.showFindings(console, found)
}

// examine looks at the member's file and, unless offline, at the cluster.
func (a *app) examine(ctx context.Context, e *examination, name string) ([]ctl.Finding, doctor.Limits, error) {
	limits := doctor.DefaultLimits()
	limits.Poolers = e.poolers
	found, c, err := a.examineConfig(e)
	if err != nil {
		return nil, limits, err
	}
	if !e.offline {
		checkup, err := a.examineCluster(ctx, e, c, name)
		if err != nil {
			return nil, limits, err
		}
		found = append(found, checkup.Findings...)
		for _, m := range checkup.Members {
			limits.Members = append(limits.Members, doctor.Member{Name: m.Name, Host: m.Host})
		}
		if checkup.MaxConnections > 0 {
			limits.MaxConnections = checkup.MaxConnections
		}
	}
	if e.connections > 0 {
		limits.MaxConnections = e.connections
	}
	return found, limits, nil
}

// examineConfig reads the configuration that -c names, or is found: of a member if it has one's name.
func (a *app) examineConfig(e *examination) ([]ctl.Finding, *config.Config, error) {
	path := a.configPath()
	if path == "" {
		return nil, nil, nil
	}
	c, problems, err := config.Load(path, a.env)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	if c != nil && c.Name == "" { // a client's: what a member needs may be missing
		c, problems, err = config.LoadClient(path, a.env)
		if err != nil {
			return nil, nil, fmt.Errorf("read the configuration %s: %w", path, err)
		}
	}
	if su := c.PostgreSQL.Authentication.Superuser; e.query.Username == "" && su.Username != "" {
		e.query.Username, e.query.Password = su.Username, su.Password
	}
	found := append(ctl.ConfigFindings(problems, "config"), ctl.CheckPooler(c)...)
	if c.Name != "" {
		for _, why := range postgres.Immovables(c.PostgreSQL.DataDir) {
			found = append(found, ctl.Finding{Severity: ctl.SeverityNote, Check: "data_dir_immovable", Where: path, What: why + ": " + immovableMeans, Fix: immovableFix})
		}
	}
	return found, c, nil
}

func (a *app) examineCluster(ctx context.Context, e *examination, c *config.Config, name string) (ctl.Checkup, error) {
	o, err := a.operator(ctx, name, ctl.FormatPretty)
	if err != nil {
		if _, usage := errors.AsType[usageError](err); usage {
			return ctl.Checkup{}, err
		}
		return ctl.Checkup{Findings: []ctl.Finding{{Severity: ctl.SeverityError, Check: "cluster_unreachable", Where: "etcd", What: oneLine(err), Fix: "nothing else of the cluster was looked at: mend this first, or --offline"}}}, nil
	}
	probe, ok := o.Cluster.(*ctl.API)
	if !ok {
		client, err := a.client(c)
		if err != nil {
			return ctl.Checkup{}, err
		}
		if probe, err = ctl.NewAPI(defaultAPI, client); err != nil {
			return ctl.Checkup{}, err
		}
	}
	return o.Examine(ctx, ctl.DoctorOptions{QueryOptions: e.query, Statuses: func(ctx context.Context, members []ctl.Member) map[string]ctl.Status {
		return ctl.Statuses(ctx, probe, members)
	}}), nil
}

// readFiles has each file read by who reads such files.
func (e *examination) readFiles(limits doctor.Limits) ([]doctor.Finding, error) {
	var found []doctor.Finding
	var poolers []doctor.PgBouncerFile
	for _, kind := range []struct {
		files []string
		read  func(file, text string) []doctor.Finding
	}{
		{e.haproxy, func(file, text string) []doctor.Finding { return doctor.HAProxy(file, text, limits) }},
		{e.pgbouncer, func(file, text string) []doctor.Finding {
			poolers = append(poolers, doctor.PgBouncerFile{Name: file, Text: text, Included: includes(text)})
			return nil
		}},
		{e.pgpool, func(file, text string) []doctor.Finding { return doctor.Pgpool(file, text, limits) }},
		{e.files, doctor.Text},
	} {
		for _, file := range kind.files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("read the file to look at: %w", err)
			}
			found = append(found, kind.read(file, string(text))...)
		}
	}
	return append(found, doctor.PgBouncers(poolers, limits)...), nil
}

// includes are the files a pgbouncer.ini includes, as far as they can be read here.
func includes(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "%include"); is {
			name = strings.TrimSpace(name)
			included, _ := os.ReadFile(name) // what cannot be read is a finding
			found[name] = string(included)
		}
	}
	return found
}

func (a *app) showFindings(console *ctl.Console, found []ctl.Finding) error {
	bad := slices.ContainsFunc(found, func(f ctl.Finding) bool { return f.Severity != ctl.SeverityNote })
	if console.Format == ctl.FormatPretty {
		console.SayFindings(found)
		counts := map[string]int{}
		for _, f := range found {
			counts[f.Severity]++
		}
		fmt.Fprintf(a.err, "%d errors, %d warnings, %d notes\n", counts[ctl.SeverityError], counts[ctl.SeverityWarning], counts[ctl.SeverityNote])
	} else if err := console.Show(ctl.FindingsTable(found)); err != nil {
		return err
	}
	if bad {
		return exitCode(exitFailed)
	}
	return nil
}
