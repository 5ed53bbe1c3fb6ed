package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/routing/pgbouncer"
)

// newPooler makes the driver of the PgBouncer that the configuration names.
func newPooler(log *slog.Logger) func(*config.Config) (agent.Pooler, error) {
	return func(c *config.Config) (agent.Pooler, error) {
		p := c.PgBouncer
		if p.Admin == "" {
			return nil, nil
		}
		return pgbouncer.New(pgbouncer.Settings{
			Options: pgbouncer.Options{Admin: p.Admin, File: p.DatabasesFile, Databases: p.Databases, ReadSuffix: p.ReadSuffix, MaxLag: p.MaxLag, Parameters: p.Parameters},
			Member:  c.Name, PauseTimeout: p.PauseTimeout, MaxHold: p.MaxHold,
			Deadman: []string{"/proc/self/exe", "pooler-deadman"},
			Now:     clock.Now, Timer: clock.Timer, Log: log,
		})
	}
}

// poolerDeadman resumes what an agent paused and did not resume in time; its driver starts
// it, and tells it what on its input.
func (a *app) poolerDeadman() *cobra.Command {
	return a.command(verb{
		use: "pooler-deadman", hidden: true, short: "started by pgkeeper agent-worker",
		run: func(cmd *cobra.Command, _ []string) error {
			return pgbouncer.Deadman(cmd.Context(), a.in, func(ctx context.Context, d time.Duration) { clock.Sleep(ctx.Done(), d) })
		},
	})
}
