package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"
)

const redacted = "***"

// Redacted is a copy without secrets, to be shown and logged.
func (c *Config) Redacted() *Config {
	d := draft{Config: *c}
	d.origins = nil
	for i := range local().keys {
		k := &local().keys[i]
		if k.Type != Secret {
			continue
		}
		if secret, ok := k.into(&d).(*string); ok && *secret != "" {
			*secret = redacted
		}
	}
	return &d.Config
}

// LogValue keeps secrets out of a log line that is given the whole Config.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("path", c.Path), slog.String("cluster", c.Scope), slog.String("member", c.Name))
}

// String keeps secrets out of a message that formats the Config.
func (c Config) String() string {
	return "config of member " + c.Name + " of cluster " + c.Scope + " from " + c.Path
}

// GoString does the same for %#v.
func (c Config) GoString() string { return c.String() }

// String is the user's name alone.
func (c Credentials) String() string { return c.Username }

// GoString is the same for %#v.
func (c Credentials) GoString() string { return c.Username }

// String is the role's name alone.
func (r Role) String() string { return r.Username }

// GoString is the same for %#v.
func (r Role) GoString() string { return r.Username }

// String is where the store is, without credentials.
func (e Etcd) String() string { return strings.Join(e.Endpoints(), ",") }

// GoString is the same for %#v.
func (e Etcd) GoString() string { return e.String() }

// Slog is the level for log/slog.
func (l *Log) Slog() slog.Level {
	switch l.Level {
	case "DEBUG":
		return slog.LevelDebug
	case "WARNING", "WARN":
		return slog.LevelWarn
	case "ERROR", "CRITICAL":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// RewindRole is the role pg_rewind connects as: its own, else the superuser.
func (a *Authentication) RewindRole() Role {
	if a.Rewind.Username == "" {
		return a.Superuser
	}
	return a.Rewind
}

// reason is an error of the file system without the path, which is named anyway.
func reason(err error) string {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err.Error()
	}
	return err.Error()
}
