package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/postgres"
)

func (a *app) history() *cobra.Command {
	var format string
	var lost bool
	return a.command(verb{
		use: "history [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "show the promotions so far, and with --lost what they cost",
		long: `Show the promotions so far. With --lost: the transactions that had been committed on a primary and that the
cluster has not, because their primary died before a standby had them. Every member is asked what it had to abandon when
it rejoined; the one of the configuration is read from its state directory when its agent does not answer.`,
		example: "  pgkeeper history\n  pgkeeper history --lost -o json",
		flags: func(f flagSet) {
			f.StringVarP(&format, "format", "f", "", "same as --output")
			f.BoolVar(&lost, "lost", false, "show the transactions that the cluster has lost")
		},
		run: func(cmd *cobra.Command, args []string) error {
			a.useFormat(format)
			if lost {
				return a.runLost(cmd.Context(), one(args))
			}
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			return o.History(cmd.Context())
		},
	})
}

// runLost asks every member. Without a store or an agent to tell who they are, what
// this machine's member has kept is shown, and the error with it.
func (a *app) runLost(ctx context.Context, name string) error {
	s, console, api, err := a.fromHere()
	if err != nil {
		return err
	}
	s.credentials(api)
	c, err := s.cluster(ctx, name)
	local, have := a.lostHere(s)
	if err == nil {
		var overview ctl.Overview
		if overview, err = c.Overview(ctx); err == nil {
			o := &ctl.Operator{Cluster: c, Console: console, Clock: wallClock{}}
			if _, member := overview.Member(s.name()); member || overview.Scope != s.scope {
				local = nil // it is asked, or it is another cluster's
			}
			return o.Lost(ctx, func(ctx context.Context, m ctl.Member) ([]cluster.Lost, error) { return a.lostOf(ctx, s, api, m) }, local)
		}
	}
	if have {
		fmt.Fprintln(a.err, oneLine(err)+"; this is what the member here has kept")
		return console.Lost("", local)
	}
	return err
}

// name is the member of the configuration; empty without one.
func (s *source) name() string {
	if s.config == nil {
		return ""
	}
	return s.config.Name
}

// lostOf asks a member's agent, or reads its state directory if that is on this
// machine.
func (a *app) lostOf(ctx context.Context, s *source, api *ctl.API, m ctl.Member) ([]cluster.Lost, error) {
	if m.APIURL == "" {
		return nil, errors.New("it has told no address")
	}
	list, err := api.Lost(ctx, m.APIURL)
	if err == nil || s.name() != m.Name {
		return list, err
	}
	if local, have := a.lostHere(s); have {
		return local, nil
	}
	return nil, err
}

// lostHere reads the state directory of the configuration's member.
func (a *app) lostHere(s *source) (list []cluster.Lost, have bool) {
	if s.name() == "" || s.config.Keeper.StateDir == "" || a.options.api != "" {
		return nil, false
	}
	list, err := postgres.ReadLost(s.config.Keeper.StateDir)
	return list, err == nil
}
