package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/peer"
)

// peers shows which agents reach which. It speaks as an agent, by the key in the
// store, so that it works whatever the members' REST API takes from an operator.
func (a *app) peers() *cobra.Command {
	return a.command(verb{
		use: "peers [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short:   "show which agents reach which others by signed calls",
		example: "  pgkeeper peers\n  pgkeeper -d etcd3://127.0.0.1:2379 peers batman -o json",
		run:     func(cmd *cobra.Command, args []string) error { return a.runPeers(cmd.Context(), one(args)) },
	})
}

func (a *app) runPeers(ctx context.Context, name string) error {
	s, err := a.source()
	if err != nil {
		return err
	}
	if s.api != nil {
		return usagef("the key that agents know each other by stands in the store, and no agent tells it: give -d or a configuration file with etcd3, not --api")
	}
	c, err := s.cluster(ctx, name)
	if err != nil {
		return err
	}
	console, err := a.console(ctl.FormatPretty)
	if err != nil {
		return err
	}
	o := &ctl.Operator{Cluster: c, Console: console, Clock: wallClock{}}
	overview, err := c.Overview(ctx)
	if err != nil {
		return err
	}
	caller, err := a.peerClient(ctx, s, overview.Scope)
	if err != nil {
		return err
	}
	return o.Peers(ctx, func(ctx context.Context, m ctl.Member) ([]cluster.Reach, error) {
		answer, err := caller.Post(ctx, m.Name, m.APIURL, "/pgkeeper/reach", nil)
		if err != nil {
			return nil, err
		}
		var found []cluster.Reach
		if answer.Code != http.StatusOK || json.Unmarshal(answer.Body, &found) != nil {
			return nil, fmt.Errorf("%s answered %d: %s", m.Name, answer.Code, answer.Body)
		}
		return found, nil
	})
}

// peerClient calls the agents of a cluster by the key in its store.
func (a *app) peerClient(ctx context.Context, s *source, scope string) (*peer.Client, error) {
	store := dcs.NewStore(s.kv, s.namespace, scope)
	view, err := store.Load(ctx)
	if err != nil {
		return nil, ctl.Trouble(s.endpoints, err)
	}
	key, err := store.PeerKey(ctx)
	if err != nil {
		return nil, ctl.Trouble(s.endpoints, err)
	}
	if key.Secret() == nil {
		return nil, fmt.Errorf("cluster %s has no peer key yet: its holder writes one as soon as it is a pgkeeper", scope)
	}
	var term cluster.Term
	if view.Leader != nil {
		term = view.Leader.Term
	}
	if view.Beat != nil {
		term = max(term, view.Beat.Term)
	}
	client, err := a.client(s.config)
	if err != nil {
		return nil, err
	}
	self := peer.Self{Secret: key.Secret, Term: func() cluster.Term { return term }}
	return peer.NewClient(self, client.Transport), nil
}
