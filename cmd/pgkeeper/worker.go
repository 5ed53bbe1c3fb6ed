package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/certs"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
	"github.com/pgkeeper/pgkeeper/supervisor"
)

// worker is the process that thinks; the supervisor starts it.
func (a *app) worker() *cobra.Command {
	return a.command(verb{
		use: "agent-worker", hidden: true, short: "started by pgkeeper agent",
		run: func(cmd *cobra.Command, _ []string) error { return a.runWorker(cmd.Context()) },
	})
}

func (a *app) runWorker(ctx context.Context) error {
	path := a.options.config
	c, problems, err := a.load(path)
	if err != nil || c == nil || len(problems.Errors()) > 0 {
		_, err := a.loadAgent(path)
		return a.refuse(err)
	}
	log := newLog(c.Log, a.err)
	for _, p := range problems.Warnings() {
		log.Warn("configuration", "error", p.String())
	}
	err = agent.RunWorker(ctx, agent.Options{
		Config: c, Version: version, Log: log, OpenStore: openObserved(log), Surface: newSurface(log),
		Pooler:        newPooler(log),
		PeerTransport: func(c *config.Config) (http.RoundTripper, error) { return peerTransport(c, log) },
		Reload:        func() (*config.Config, error) { return a.reloadAgent(path) },
	})
	if errors.Is(err, agent.ErrRefused) {
		return a.refuse(err)
	}
	return err
}

// refuse tells the supervisor that starting again is of no use.
func (a *app) refuse(err error) error {
	fmt.Fprintln(a.err, "Error: "+oneLine(err))
	return exitCode(supervisor.ExitRefused)
}

// openObserved connects to etcd and reports every request to the metrics.
func openObserved(log *slog.Logger) func(c config.Etcd, observe func(op string, d time.Duration, err error)) (dcs.KV, error) {
	return func(c config.Etcd, observe func(op string, d time.Duration, err error)) (dcs.KV, error) {
		options, err := etcdOptions(c, log)
		if err != nil {
			return nil, err
		}
		options.Now, options.Wall, options.Observe = clock.Now, clock.Wall, observe
		return etcd.New(options)
	}
}

// peerTransport carries calls to other agents. Their certificates are checked
// against ctl.cacert, restapi.cafile or the system's authorities, whatever
// ctl.insecure says; where restapi has a certificate it is shown.
func peerTransport(c *config.Config, log *slog.Logger) (http.RoundTripper, error) {
	client, err := certs.NewClient(certs.Files{
		CA: cmp.Or(c.Ctl.CACert, c.RESTAPI.CAFile), CAKey: "ctl.cacert or restapi.cafile",
		Cert: c.RESTAPI.CertFile, Key: c.RESTAPI.KeyFile, Password: c.RESTAPI.KeyFilePassword, CertKey: "restapi.certfile",
	}, log)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		DialTLSContext:  client.Dial,
		MaxIdleConns:    16,
		IdleConnTimeout: time.Minute,
	}, nil
}
