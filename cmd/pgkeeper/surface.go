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
	// certificates is nil without TLS.
	certificates *restapi.Certificates
	connections  int
}

func newSurface(log *slog.Logger) func(*config.Config, agent.Sources) (agent.Surface, error) {
	return func(c *config.Config, s agent.Sources) (agent.Surface, error) {
		server, err := restapi.New(restapi.Options{
			Peers: s.Peers.Verifier(),
			Reach: func(ctx context.Context) []cluster.Reach {
				status := s.Status()
				if status == nil {
					return nil
				}
				return s.Peers.Reach(ctx, status.View.Value)
			},
			Failsafe: s.Failsafe,
			Status:   s.Status, Changed: s.Changed, Progress: s.Progress, Explain: s.Explain, Lost: s.Lost, Now: clock.Now, Wall: clock.Wall, Operator: operator{s.Operator}, Metrics: s.Metrics,
			Access: access(c.RESTAPI), ExtraHeaders: c.RESTAPI.HTTPExtraHeaders, ExtraHeadersTLS: c.RESTAPI.HTTPSExtraHeaders,
			ServerTokens: c.RESTAPI.ServerTokens, Version: version, Log: log,
		})
		return &surface{config: c.RESTAPI, server: server, log: log, connections: c.Keeper.RESTConnections}, err
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
	if s.certificates, err = restapi.NewCertificates(s.tlsOptions(s.config)); err != nil {
		return err
	}
	s.listener = tls.NewListener(s.listener, s.certificates.Config())
	return nil
}

func (s *surface) tlsOptions(c config.RESTAPI) restapi.TLSOptions {
	return restapi.TLSOptions{CertFile: c.CertFile, KeyFile: c.KeyFile, KeyFilePassword: c.KeyFilePassword, Ciphers: c.Ciphers,
		CAFile: c.CAFile, VerifyClient: c.VerifyClient, Now: clock.Now, Log: s.log}
}

func (s *surface) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	following := make(chan struct{})
	go func() {
		defer close(following)
		s.server.Follow(ctx)
	}()
	defer func() {
		cancel()
		<-following
	}()
	return restapi.Serve(ctx, s.listener, fewProcessors(s.server, ctx.Done()), restapi.ServeOptions{Connections: s.connections, Log: s.log})
}

// Reload takes over who may do what, and certificates: both, or none of them. Whether
// there is TLS at all changes at the next start.
func (s *surface) Reload(c *config.Config) error {
	if err := s.server.SetAccess(access(c.RESTAPI)); err != nil {
		return err
	}
	if s.certificates != nil && c.RESTAPI.CertFile != "" {
		if err := s.certificates.Reload(s.tlsOptions(c.RESTAPI)); err != nil {
			return errors.Join(err, s.server.SetAccess(access(s.config)))
		}
	}
	s.config = c.RESTAPI
	return nil
}

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
