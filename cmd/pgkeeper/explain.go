package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/recorder"
)

func (a *app) explain() *cobra.Command {
	var format string
	var whole bool
	return a.command(verb{
		use: "explain [MEMBER]", group: groupLook, args: cobra.MaximumNArgs(1), suggest: []string{"why"},
		short: "say why a member does what it does, and what would have to change",
		long: `Say what a member observes, what it decided and since when, the reason by code and in words, and what would have to
change for it to be promoted or to follow. Without MEMBER it is the member of the configuration, or the agent at --api.
The agent is asked; while it is down, on its own machine, its recording tells how it was at its last step.
With --cluster: one line for each member, why there is or is no primary.`,
		example: "  pgkeeper explain\n  pgkeeper explain pg2 -o json\n  pgkeeper explain --cluster",
		flags: func(f flagSet) {
			f.BoolVar(&whole, "cluster", false, "one line for each member: why there is or is no primary")
			f.StringVarP(&format, "format", "f", "", "same as --output")
		},
		run: func(cmd *cobra.Command, args []string) error {
			a.useFormat(format)
			if whole && len(args) > 0 {
				return usagef("--cluster is about all members: leave %s out", args[0])
			}
			return a.runExplain(cmd.Context(), one(args), whole)
		},
	})
}

func (a *app) runExplain(ctx context.Context, member string, whole bool) error {
	s, console, here, err := a.fromHere()
	if err != nil {
		return err
	}
	mine := s.config != nil && s.config.Name != "" && a.options.api == ""
	switch {
	case whole, member == "" && !mine && s.api == nil:
		return a.explainOthers(ctx, s, here, console, "")
	case member == "" || mine && member == s.config.Name:
		return a.explainHere(ctx, s, here, console)
	}
	return a.explainOthers(ctx, s, here, console, member)
}

// fromHere is what a command needs that asks the agent here before others.
func (a *app) fromHere() (*source, *ctl.Console, *ctl.API, error) {
	s, err := a.source()
	if err != nil {
		return nil, nil, nil, err
	}
	console, err := a.console(ctl.FormatPretty)
	if err != nil {
		return nil, nil, nil, err
	}
	here, err := a.agentHere(s)
	return s, console, here, err
}

// agentHere is the agent that is asked first: the one at --api, else that of the
// configuration, which needs no etcd.
func (a *app) agentHere(s *source) (*ctl.API, error) {
	if s.api != nil {
		return s.api, nil
	}
	base := defaultAPI
	if s.config != nil {
		base = ownAPI(s.config.RESTAPI)
	}
	client, err := a.client(s.config)
	if err != nil {
		return nil, err
	}
	return ctl.NewAPI(base, client)
}

// ownAPI is where a member's own agent is reached from its machine, by TLS when it
// has a certificate. A file that is shared by all containers says only where to listen.
func ownAPI(c config.RESTAPI) string {
	address := c.ConnectAddress
	if address == "" {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return defaultAPI
		}
		if everywhere(c.Listen) {
			host = "127.0.0.1"
		}
		address = net.JoinHostPort(host, port)
	}
	if c.CertFile != "" {
		return "https://" + address
	}
	return "http://" + address
}

// explainHere asks the agent, or reads what it recorded last.
func (a *app) explainHere(ctx context.Context, s *source, here *ctl.API, console *ctl.Console) error {
	e, err := here.Explanation(ctx, "")
	if c := s.config; err == nil && c != nil && a.options.api == "" && c.Name != "" && (e.Member != c.Name || e.Scope != c.Scope) {
		err = fmt.Errorf("%s is the agent of %s in cluster %s, not of %s in cluster %s: is restapi.connect_address its own?", ownAPI(c.RESTAPI), e.Member, e.Scope, c.Name, c.Scope)
	}
	if err == nil {
		return console.Explain(e)
	}
	if s.config == nil || s.config.Keeper.StateDir == "" {
		return err
	}
	dir := filepath.Join(s.config.Keeper.StateDir, recorder.Folder)
	recorded, readErr := recorder.ExplainLast(dir, clock.Wall())
	switch {
	case errors.Is(readErr, fs.ErrNotExist):
		return fmt.Errorf("%w; and %s holds no recording of it", err, dir)
	case readErr != nil:
		return fmt.Errorf("%w; and its recording cannot be read: %w", err, readErr)
	}
	fmt.Fprintln(a.err, "The agent does not answer: "+oneLine(err))
	return console.Explain(recorded)
}

// explainOthers explains a member, or with none all of them, as the store shows
// the cluster; without a store, as the agent here last saw it.
func (a *app) explainOthers(ctx context.Context, s *source, here *ctl.API, console *ctl.Console, member string) error {
	c, err := s.cluster(ctx, "")
	if err != nil {
		return err
	}
	options := ctl.ExplainOptions{Ask: here.Explanation, Words: func(r cluster.Reason) string { return election.Explain(r) }}
	run := func(c ctl.Cluster) error {
		o := &ctl.Operator{Cluster: c, Console: console, Clock: wallClock{}}
		if member == "" {
			return o.ExplainCluster(ctx, options)
		}
		return o.ExplainMember(ctx, member, options)
	}
	err = run(c)
	if err == nil || s.api != nil || ctx.Err() != nil || errors.Is(err, ctl.ErrRefused) {
		return err
	}
	if _, asked := here.Explanation(ctx, ""); asked != nil {
		return err // neither etcd nor an agent: what etcd says is the news
	}
	fmt.Fprintln(a.err, oneLine(err)+"; this is what the agent here last saw")
	return run(here)
}
