package agent

import (
	"context"
	"log/slog"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// newServer makes the local server of the configuration.
func newServer(c *config.Config, log *slog.Logger) (*postgres.Server, error) {
	p := c.PostgreSQL
	bin := p.BinDir
	if bin == "" {
		found, err := findBinaries(p.DataDir)
		if err != nil {
			return nil, err
		}
		bin = found
	}
	return postgres.New(postgres.Options{
		DataDir: p.DataDir, ConfigDir: p.ConfigDir, BinDir: bin, BinName: p.BinName, OSUser: p.User,
		Listen: p.Listen, ConnectAddress: p.ConnectAddress, Database: p.Database,
		Superuser: credentials(p.Authentication.Superuser), Replication: credentials(p.Authentication.Replication),
		Rewind:    credentials(p.Authentication.Rewind),
		SocketDir: firstOf(p.Parameters["unix_socket_directories"]), Scope: c.Scope, Name: c.Name, PgPass: p.PgPass, StateDir: c.Keeper.StateDir,
		BasebackupArgs: p.BasebackupArgs, RewindArgs: p.RewindArgs, CustomConf: p.CustomConf, Now: clock.Now, Wall: clock.Wall, Log: log,
	})
}

// TryServer has this machine's PostgreSQL read the parameters of a configuration, those of the file and of bootstrap.dcs, and
// starts nothing: postgres.ErrParameter where a server would not start with them.
func TryServer(ctx context.Context, c *config.Config) error {
	s, err := newServer(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	settings, _ := config.Dynamic(c.Bootstrap.DCS) // the file's problems tell what is wrong there
	return s.TryConfig(ctx, postgres.ConfigSpec{Settings: settings, Local: c.PostgreSQL.Parameters, RecoveryConf: c.PostgreSQL.RecoveryConf})
}

func credentials(r config.Role) postgres.Credentials {
	return postgres.Credentials{Username: r.Username, Password: r.Password, SSLMode: r.SSLMode, SSLCert: r.SSLCert, SSLKey: r.SSLKey,
		SSLPassword: r.SSLPassword, SSLRootCert: r.SSLRootCert, SSLCRL: r.SSLCRL, SSLCRLDir: r.SSLCRLDir,
		GSSEncMode: r.GSSEncMode, ChannelBinding: r.ChannelBinding, SSLNegotiation: r.SSLNegotiation}
}
