package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/routing"
)

// routeFlags are route's own.
type routeFlags struct {
	haproxy routing.HAProxy
	logType string
	level   string
}

func (a *app) route() *cobra.Command {
	var r routeFlags
	return a.command(verb{
		use: "route [CLUSTER]", group: groupNode, args: cobra.MaximumNArgs(1),
		short: "beside HAProxy: move writes to a new primary within milliseconds",
		long: `Run beside HAProxy and tell its runtime socket of every change of primary as it happens: sessions of the old one are
cut, the new one is served at once, where HAProxy's own checks take some tenths of a second. It follows the leader key in etcd
and the events of two agents, and acts upon whichever knows first; --api URL follows agents alone.

Nothing is pinned: HAProxy's checks go on, confirm what was told or take it back, and govern alone while this is not
there. HAProxy needs a server of each member's name in the backend, and a stats socket of level admin.`,
		example: "  pgkeeper route -d etcd3://10.0.0.1:2379,10.0.0.2:2379 batman\n  pgkeeper route --api http://10.0.0.1:8008 --haproxy /run/haproxy/admin.sock",
		flags: func(f flagSet) {
			f.StringVar(&r.haproxy.Socket, "haproxy", "/run/haproxy/admin.sock", "HAProxy's runtime `SOCKET`, a path or host:port")
			f.StringVar(&r.haproxy.Backend, "backend", "primary", "`NAME` of the backend of writes")
			f.StringVar(&r.haproxy.Reads, "reads-backend", "replicas", "`NAME` of the backend of reads, which a new primary leaves; empty for none")
			f.StringVar(&r.logType, "log-type", "plain", "plain or json")
			f.StringVar(&r.level, "log-level", "INFO", "least level that is logged")
		},
		run: func(cmd *cobra.Command, args []string) error { return a.runRoute(cmd.Context(), r, one(args)) },
	})
}

func (a *app) runRoute(ctx context.Context, flags routeFlags, name string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := a.source()
	if err != nil {
		return err
	}
	client, err := a.client(s.config)
	if err != nil {
		return err
	}
	listener := &http.Client{Transport: client.Transport} // without the bound on a whole answer: events have no end
	log := logger(flags.logType, parseLevel(flags.level), a.err)
	router := &routing.Router{HAProxy: flags.haproxy, Now: clock.Now, Log: log}
	agents := routing.NewAgents()
	if s.api != nil {
		agents = routing.NewAgents(s.api.Base())
	} else {
		scope, err := s.named(ctx, name)
		if err != nil {
			return err
		}
		store := dcs.NewStore(s.kv, s.namespace, scope)
		router.Sources = append(router.Sources, routing.Source{Name: "etcd", Run: func(ctx context.Context, tell func(routing.News)) error {
			return followStore(ctx, store, scope, agents, tell)
		}})
	}
	for _, name := range []string{"agent", "second agent"} {
		router.Sources = append(router.Sources, agents.Source(name, listener, clock.Now))
	}
	log.Info("routing", "socket", flags.haproxy.Socket, "backend", flags.haproxy.Backend)
	router.Run(ctx)
	return nil
}

// storeLimit bounds one read of the store.
const storeLimit = 3 * time.Second

// followStore tells what the store shows until its watch ends.
func followStore(ctx context.Context, store *dcs.Store, scope string, agents *routing.Agents, tell func(routing.News)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read, done := context.WithTimeout(ctx, storeLimit)
	view, err := store.Load(read)
	done()
	if err != nil {
		return fmt.Errorf("read etcd: %w", err)
	}
	say := func(v cluster.View) {
		t := v.Topology(scope)
		agents.Know(t)
		tell(routing.News{Topology: &t, Revision: v.Revision, At: clock.Now()})
	}
	say(view)
	for update := range store.Watch(ctx, view) {
		if update.Err != nil {
			return fmt.Errorf("watch etcd: %w", update.Err)
		}
		say(update.View)
	}
	return errors.New("watch etcd: it ended")
}
