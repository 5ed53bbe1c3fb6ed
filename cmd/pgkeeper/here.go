package main

import (
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) healthcheck() *cobra.Command {
	var role, lag string
	var timeout float64
	return a.command(verb{
		use: "healthcheck", group: groupNode,
		short: "ask the agent here how it is: exit code 0 or 1, for HEALTHCHECK and probes",
		long: `Ask the agent on this machine how it is: exit code 0 when it is well, 1 when it is not or does not answer.

Without --role it is whether the agent itself works (GET /liveness), whatever its server is: a container must not be
ended for being a standby, or while it clones.`,
		example: "  pgkeeper healthcheck\n  pgkeeper healthcheck --role replica --max-lag 16MB",
		flags: func(f flagSet) {
			f.StringVarP(&role, "role", "r", "", "want its server to serve as this `ROLE`: primary, replica or any")
			f.StringVar(&lag, "max-lag", "", "with --role replica or any: a standby misses at most this `SIZE` (16MB)")
			f.Float64VarP(&timeout, "timeout", "t", 2, "wait at most `SECONDS` for the answer")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			path, err := checkPath(role, lag)
			if err != nil {
				return err
			}
			_, _, here, err := a.fromSelf()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(timeout*float64(time.Second)))
			defer cancel()
			return here.Check(ctx, path)
		},
	})
}

// checkPath is the agent's own check for what is asked.
func checkPath(role, lag string) (string, error) {
	paths := map[string]string{"": "/liveness", "primary": "/primary", "replica": "/replica", "any": "/read-only"}
	path, known := paths[role]
	switch {
	case !known:
		return "", usagef("--role %s: choose primary, replica or any", role)
	case lag == "":
		return path, nil
	case role != "replica" && role != "any":
		return "", usagef("--max-lag is for --role replica or any: a primary lags behind nobody")
	}
	return path + "?" + url.Values{"lag": {lag}}.Encode(), nil
}

func (a *app) prestop() *cobra.Command {
	var timeout float64
	return a.command(verb{
		use: "prestop", group: groupNode,
		short: "give the primary away if this member has it, before a container is stopped",
		long: `Give the primary to another member if the one on this machine has it, and return when that has happened: for preStop
of Kubernetes, or before work on a machine. On a standby, in a paused cluster, and where nobody could take over nothing
is done, with exit code 0.`,
		flags: func(f flagSet) {
			f.Float64VarP(&timeout, "timeout", "t", 60, "give up after `SECONDS`; the agent tries again when it is stopped")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			_, console, here, err := a.fromSelf()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(timeout*float64(time.Second)))
			defer cancel()
			return ctl.Prestop(ctx, here, console)
		},
	})
}

// fromSelf is what a command needs that talks to the agent on this machine and to
// nobody else: no etcd is opened, and loopback is gone through where the agent
// listens there, since writes need no password from there.
func (a *app) fromSelf() (*source, *ctl.Console, *ctl.API, error) {
	console, err := a.console(ctl.FormatPretty)
	if err != nil {
		return nil, nil, nil, err
	}
	s := &source{}
	if path := a.configPath(); path != "" || a.options.api == "" {
		if err := a.readConfig(s, path); err != nil {
			return nil, nil, nil, err
		}
	}
	base := a.options.api
	if base == "" {
		self := s.config.RESTAPI
		if everywhere(self.Listen) && self.CertFile == "" {
			self.ConnectAddress = ""
		}
		base = ownAPI(self)
	}
	client, err := a.client(s.config)
	if err != nil {
		return nil, nil, nil, err
	}
	here, err := ctl.NewAPI(base, client)
	if err != nil {
		return nil, nil, nil, usageError{err}
	}
	s.credentials(here)
	return s, console, here, nil
}
