package postgres

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// keyword is one setting of a libpq connection string.
type keyword struct{ name, value string }

// conninfo renders settings as libpq reads them. Settings without a value are
// left out.
func conninfo(settings []keyword) string {
	var b strings.Builder
	for _, k := range settings {
		if k.value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(k.name + "=" + quoteConninfo(k.value))
	}
	return b.String()
}

// quoteConninfo quotes a value where it must be: blanks, quotes, backslashes.
func quoteConninfo(value string) string {
	if value != "" && !strings.ContainsAny(value, " \t\n\r\v\f'\\=") {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// parseConninfo reads "name=value name='va\'lue'". What it cannot read it leaves
// out: it is for showing a string that the server accepted.
func parseConninfo(text string) []keyword {
	var settings []keyword
	for {
		text = strings.TrimLeft(text, " \t\n\r\v\f")
		name, rest, found := strings.Cut(text, "=")
		if !found {
			return settings
		}
		value, after := conninfoValue(strings.TrimLeft(rest, " \t\n\r\v\f"))
		settings = append(settings, keyword{strings.TrimSpace(name), value})
		text = after
	}
}

// conninfoValue takes one value, quoted or not, off the front of text.
func conninfoValue(text string) (value, rest string) {
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text = text[1:]
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r\v\f", c) >= 0:
			return b.String(), text[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// secretKeywords are left out of whatever is shown.
var secretKeywords = []string{"password", "sslpassword", "passfile", "oauth_client_secret"}

// withoutSecrets is a connection string fit for logs and status.
func withoutSecrets(text string) string {
	settings := slices.DeleteFunc(parseConninfo(text), func(k keyword) bool {
		return slices.Contains(secretKeywords, strings.ToLower(k.name))
	})
	return conninfo(settings)
}

// tls are the settings of a login that concern encryption, as far as they are set.
func (c Credentials) tls() []keyword {
	return []keyword{
		{"sslmode", c.SSLMode}, {"sslcert", c.SSLCert}, {"sslkey", c.SSLKey}, {"sslpassword", c.SSLPassword},
		{"sslrootcert", c.SSLRootCert}, {"sslcrl", c.SSLCRL}, {"sslcrldir", c.SSLCRLDir},
		{"gssencmode", c.GSSEncMode}, {"channel_binding", c.ChannelBinding}, {"sslnegotiation", c.SSLNegotiation},
	}
}

// sourceConninfo is for a program that connects to another server. The password
// goes through a file in memory (secretFile), never through the argument list or
// the environment; for a key's password there is no such way, so keys of clones
// and rewinds have none.
//
// A source whose host dies shows within half a minute, where TCP alone would wait for
// hours. It may be busy for long: its kernel answers all the same.
func sourceConninfo(c Credentials, host, port, database string) string {
	c.SSLPassword = ""
	settings := []keyword{
		{"dbname", database}, {"user", c.Username}, {"host", host}, {"port", port}, {"connect_timeout", "5"},
		{"keepalives_idle", "10"}, {"keepalives_interval", "5"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "30000"},
	}
	if c.Password != "" {
		settings = append(settings, keyword{"passfile", passPath})
	}
	return conninfo(append(settings, c.tls()...))
}

// passLine is a login as a password file has it. One line serves every host: who
// is connected to changes in a failover, the role's password does not.
func passLine(c Credentials) []byte {
	return []byte("*:*:*:" + escapePass(c.Username) + ":" + escapePass(c.Password) + "\n")
}

func escapePass(text string) string { return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(text) }

// PrimaryConninfo is what this server's WAL receiver connects with: the password
// comes from the password file, application_name is the member's name. Empty for
// an upstream without a host.
//
// A dead host shows by tcp_user_timeout within 5 s even while a connection is
// being made, where wal_receiver_timeout does not count yet.
func (s *Server) PrimaryConninfo(up Upstream) string {
	if up.Host == "" {
		return ""
	}
	c := s.o.Replication
	settings := []keyword{{"dbname", "postgres"}, {"user", c.Username}}
	if c.Password != "" {
		settings = append(settings, keyword{"passfile", s.o.PgPass})
	}
	settings = append(settings, keyword{"host", up.Host}, keyword{"port", up.Port})
	settings = append(settings, c.tls()...)
	return conninfo(append(settings,
		keyword{"application_name", s.o.Name}, keyword{"tcp_user_timeout", "5000"},
		keyword{"keepalives_idle", "2"}, keyword{"keepalives_interval", "1"}, keyword{"keepalives_count", "3"}))
}

// writePassfile writes the WAL receiver's password file.
func (s *Server) writePassfile() error {
	c := s.o.Replication
	if c.Password == "" {
		return nil
	}
	if err := s.ensureState(); err != nil {
		return err
	}
	line := passLine(c)
	if s.owner.self {
		return replaceFile(s.o.PgPass, line, 0o600, -1, -1)
	}
	// Its directory may be ours or the server user's; either way the file is his.
	if err := s.owner.do(func() error { return replaceFile(s.o.PgPass, line, 0o600, -1, -1) }); err == nil {
		return nil
	}
	return replaceFile(s.o.PgPass, line, 0o600, int(s.owner.uid), int(s.owner.gid))
}

// replaceFile is writeFileAs, but leaves a file alone that already says so.
func replaceFile(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	if old, found, err := readOptional(path); err == nil && found && string(old) == string(content) {
		return nil
	}
	return writeFileAs(path, content, mode, uid, gid)
}

// sortedKeys of a map of parameters.
func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
