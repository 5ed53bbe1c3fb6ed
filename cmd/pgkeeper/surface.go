package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/restapi"
)

// surface wires the REST API to an agent.
type surface struct {
	config   config.RESTAPI
	server   *restapi.Server
	log      *slog.Logger
	listener net.Listener
}

func newSurface(log *slog.Logger) func(*config.Config, agent.Sources) (agent.Surface, error) {
	return func(c *config.Config, s agent.Sources) (agent.Surface, error) {
		server, err := restapi.New(restapi.Options{
			Status: s.Status, Explain: s.Explain, Now: clock.Now, Wall: clock.Wall, Operator: operator{s.Operator}, Metrics: s.Metrics,
			Access: access(c.RESTAPI), ExtraHeaders: c.RESTAPI.HTTPExtraHeaders, ExtraHeadersTLS: c.RESTAPI.HTTPSExtraHeaders,
			ServerTokens: c.RESTAPI.ServerTokens, Version: version, Log: log,
		})
		return &surface{config: c.RESTAPI, server: server, log: log}, err
	}
}

func access(c config.RESTAPI) restapi.Access {
	return restapi.Access{Username: c.Authentication.Username, Password: c.Authentication.Password,
		Allowlist: c.Allowlist, AllowlistIncludeMembers: c.AllowlistIncludeMembers, VerifyClient: c.VerifyClient}
}

func (s *surface) Listen(ctx context.Context) (err error) {
	if s.listener, err = restapi.Listen(ctx, s.config.Listen); err != nil || s.config.CertFile == "" {
		return err
	}
	tlsConfig, err := restapi.TLSConfig(restapi.TLSOptions{CertFile: s.config.CertFile, KeyFile: s.config.KeyFile,
		CAFile: s.config.CAFile, VerifyClient: s.config.VerifyClient, Now: clock.Now, Log: s.log})
	if err != nil {
		return err
	}
	s.listener = tls.NewListener(s.listener, tlsConfig)
	return nil
}

func (s *surface) Serve(ctx context.Context) error {
	return restapi.Serve(ctx, s.listener, s.server, s.log)
}

func (s *surface) Reload(c *config.Config) error { return s.server.SetAccess(access(c.RESTAPI)) }

// operator gives the agent's errors the names REST answers by.
type operator struct{ agent *agent.Operator }

func (o operator) Submit(ctx context.Context, r cluster.Request) (cluster.Result, error) {
	result, err := o.agent.Submit(ctx, r)
	return result, named(err)
}

func (o operator) Failover(ctx context.Context, wish cluster.Failover) (cluster.Result, error) {
	result, err := o.agent.Failover(ctx, wish)
	return result, named(err)
}

func (o operator) PatchConfig(ctx context.Context, patch json.RawMessage, replace bool) (json.RawMessage, error) {
	stored, err := o.agent.PatchConfig(ctx, patch, replace)
	return stored, named(err)
}

func (o operator) CancelFailover(ctx context.Context) error {
	return named(o.agent.CancelFailover(ctx))
}

func named(err error) error {
	for from, to := range map[error]error{agent.ErrConflict: restapi.ErrConflict, agent.ErrAbsent: restapi.ErrAbsent, agent.ErrInvalid: restapi.ErrInvalid} {
		if errors.Is(err, from) {
			return fmt.Errorf("%w: %w", to, err)
		}
	}
	return err
}
