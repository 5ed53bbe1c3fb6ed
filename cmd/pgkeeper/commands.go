package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// commands is the tree's first level, in the order of help.
func (a *app) commands() []*cobra.Command {
	builders := []func() *cobra.Command{
		a.agent, a.route, a.demo, a.validate, a.render, a.healthcheck, a.prestop, a.label, a.version,
		a.list, a.topology, a.peers, a.explain, a.history, a.replay, a.showConfig, a.dsn, a.query, a.doctor,
		a.switchover, a.failover, a.pause, a.resume, a.editConfig, a.flush,
		a.restart, a.reload, a.reinit, a.remove,
	}
	commands := make([]*cobra.Command, 0, len(builders)+2)
	for _, build := range append(builders, a.hidden()...) {
		commands = append(commands, build())
	}
	return commands
}

// commandsFor are those that a command line needs: all of them, or the one that stays.
// The processes of an agent would carry the others along for as long as they live.
func (a *app) commandsFor(args []string) []*cobra.Command {
	stay := map[string]func() *cobra.Command{"agent": a.agent, "agent-worker": a.worker, "guard": a.guard, "gate": a.gate, "probe": a.probe}
	if len(args) > 0 && stay[args[0]] != nil {
		return []*cobra.Command{stay[args[0]]()}
	}
	return a.commands()
}

// operator makes what runs a verb on the named cluster.
func (a *app) operator(ctx context.Context, name string, format ctl.Format) (*ctl.Operator, error) {
	s, err := a.source()
	if err != nil {
		return nil, err
	}
	console, err := a.console(format)
	if err != nil {
		return nil, err
	}
	c, err := s.cluster(ctx, name)
	if err != nil {
		return nil, err
	}
	return &ctl.Operator{Cluster: c, Console: console, Clock: wallClock{}}, nil
}

// operatorForMembers is operator for CLUSTER [MEMBER...]. patronictl wants the
// cluster first; where --scope or the configuration tells it, the first word may
// already be a member.
func (a *app) operatorForMembers(ctx context.Context, args []string) (*ctl.Operator, []string, error) {
	s, err := a.source()
	if err != nil {
		return nil, nil, err
	}
	console, err := a.console(ctl.FormatPretty)
	if err != nil {
		return nil, nil, err
	}
	name, members := "", args
	if len(args) > 0 && a.options.scope == "" && !a.isMember(ctx, s, args[0]) {
		name, members = args[0], args[1:]
	}
	c, err := s.cluster(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	return &ctl.Operator{Cluster: c, Console: console, Clock: wallClock{}}, members, nil
}

// isMember reports whether the word names a member of the configured cluster
// (and not that cluster itself).
func (a *app) isMember(ctx context.Context, s *source, word string) bool {
	if word == s.scope {
		return false
	}
	if s.api == nil && s.scope == "" {
		if scopes, err := s.scopes(ctx); err != nil || len(scopes) != 1 || scopes[0] == word {
			return false
		}
	}
	c, err := s.cluster(ctx, "")
	if err != nil {
		return false
	}
	overview, err := c.Overview(ctx)
	return err == nil && overview.Scope != word && slices.Contains(overview.Names(), word)
}

// one is the optional cluster argument of verbs that work on a single cluster.
func one(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
