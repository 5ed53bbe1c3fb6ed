//go:build integration || bench

package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// hostile are names that break whatever is put together without quoting.
var hostile = []string{
	`x' or '1'='1`, `a"b`, `back\slash\'`, `$(touch /nowhere) ; -- `, "ümlaut 数", `%s%n{}`, `host=evil port=1`, `p:q:*`, `#comment`, `$pgkeeper$;drop`,
}

// certificate writes a new pair to the data directory and gives its serial number.
func (n *node) certificate() *big.Int {
	n.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	n.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour)}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	n.must(err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	n.must(err)
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: chain}, "server.key": {Type: "PRIVATE KEY", Bytes: der}} {
		n.must(n.owner.do(func() error { return writeFile(n.data(name), pem.EncodeToMemory(block), 0o600) }))
	}
	return template.SerialNumber
}

// shown is the serial number of the certificate the server shows.
func (n *node) shown() *big.Int {
	n.t.Helper()
	config, err := clientConfig(passwords["superuser"], "127.0.0.1", n.Port(), "postgres", "require")
	n.must(err)
	var serial *big.Int
	config.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
		serial = state.PeerCertificates[0].SerialNumber
		return nil
	}
	conn, err := pgconn.ConnectConfig(n.ctx(), config)
	n.must(err)
	closeConn(n.ctx(), conn)
	return serial
}

func TestTheServersCertificatesAreReadAgainWhenTheyChange(t *testing.T) {
	n := newNode(t, "a")
	n.initDB()
	first := n.certificate()
	n.settings.PostgreSQL.Parameters = map[string]string{"ssl": "on"}
	n.config(nil)
	n.start(true)
	look := func(seen Certificates, force, want bool) Certificates {
		t.Helper()
		now, reloaded, err := n.ReloadCertificates(n.ctx(), seen, force)
		n.must(err)
		if reloaded != want {
			t.Errorf("reloaded %v, want %v", reloaded, want)
		}
		return now
	}
	seen := look(Certificates{}, false, false)
	seen = look(seen, false, false)
	second := n.certificate()
	if got := n.shown(); got.Cmp(first) != 0 {
		t.Fatalf("the server shows %v before a reload, want %v", got, first)
	}
	seen = look(seen, false, true)
	wait(t, "the new certificate", func() (bool, string) { got := n.shown(); return got.Cmp(second) == 0, got.String() })
	seen = look(seen, false, false)
	seen = look(seen, true, true)

	n.must(n.owner.do(func() error { return writeFile(n.data("server.key"), []byte("half a key"), 0o600) }))
	now, reloaded, err := n.ReloadCertificates(n.ctx(), seen, false)
	if err == nil || reloaded || !strings.Contains(err.Error(), "do not belong together") || strings.Contains(err.Error(), "half a key") {
		t.Errorf("half a key: reloaded %v, %v", reloaded, err)
	}
	look(now, false, false) // said once
}

// held are PostgreSQL's programs as scripts, each of which waits until secretsSeen has
// looked at it before it becomes what it stands for, with the same arguments.
func held(t *testing.T, programs ...string) (dir string, change func(*Options)) {
	t.Helper()
	dir = space(t)
	return dir, func(o *Options) {
		o.BinName = map[string]string{}
		for _, program := range programs {
			script := filepath.Join(dir, program)
			text := "#!/bin/sh\n: > \"$0.$$\"\nwhile [ -e \"$0.$$\" ]; do /bin/sleep 0.02; done\nexec " + filepath.Join(o.BinDir, program) + " \"$@\"\n"
			if err := os.WriteFile(script, []byte(text), 0o755); err != nil { //nolint:gosec // the server's user runs it
				t.Fatal(err)
			}
			name, err := filepath.Rel(o.BinDir, script)
			if err != nil {
				t.Fatal(err)
			}
			o.BinName[program] = name
		}
	}
}

// secretsSeen counts the processes that show a password while f runs, those among them
// that are held in dir.
func secretsSeen(t *testing.T, dir string, f func()) (programs map[string]bool) {
	t.Helper()
	programs = map[string]bool{}
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !over.Load() {
			waiting, _ := filepath.Glob(filepath.Join(dir, "*.*"))
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				args, _ := os.ReadFile(file)
				environ, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
				program, rest, _ := strings.Cut(string(args), "\x00")
				if script, _, _ := strings.Cut(rest, "\x00"); filepath.Dir(script) == dir {
					program = script
				}
				programs[filepath.Base(program)] = true
				for name, c := range passwords {
					if strings.Contains(string(args)+string(environ), c.Password) {
						t.Errorf("%s shows the password of %s", program, name)
					}
				}
			}
			for _, one := range waiting {
				_ = os.Remove(one)
			}
		}
	}()
	defer func() { over.Store(true); <-ended }()
	f()
	return programs
}

func TestNoPasswordIsInArgumentsOrEnvironmentsOfACloneOrARewind(t *testing.T) {
	dir, change := held(t, "initdb", "pg_basebackup", "pg_rewind")
	programs := secretsSeen(t, dir, func() {
		a := primary(t, "a", change)
		b := newNode(t, "b", change)
		b.must(b.Clone(b.ctx(), b.source(a), nil))
		b.config(b.upstream(a))
		b.start(false)
		b.waitStreaming(a)
		b.promoteTo(3)
		a.sql("create table t as select generate_series(1, 100000) i")
		a.stop(syscall.SIGINT)
		b.must(b.Checkpoint(b.ctx()))
		if rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); err != nil || !rewound {
			t.Errorf("rewound %v, %v", rewound, err)
		}
	})
	for _, program := range []string{"initdb", "pg_basebackup", "pg_rewind"} {
		if !programs[program] {
			t.Errorf("%s was not seen", program)
		}
	}
}

func TestAMemberAndItsRolesMayHaveAnyNameAPersonThinksOf(t *testing.T) {
	a := primary(t, `pri"m'ary`, func(o *Options) {
		o.Superuser.Username, o.Replication.Username, o.Rewind.Username = `su per us;er -- %s`, `rep\l:$1 --`, `re;wi"nd`
	})
	for _, name := range hostile {
		slot := cluster.SlotName(name)
		if changes, err := a.EnsureSlots(a.ctx(), []string{slot}, SlotPolicy{}); err != nil || len(changes.Made) != 1 {
			t.Errorf("slot %q of member %q: %+v, %v", slot, name, changes, err)
		}
		a.must(a.DropSlot(a.ctx(), slot))
	}
	// A slot that somebody else names, in a request or a key, is quoted too.
	for _, name := range hostile {
		if err := a.makeSlot(a.ctx(), name); err == nil || !strings.Contains(err.Error(), "invalid character") {
			t.Errorf("slot %q: %v", name, err)
		}
		if err := a.reserveSlot(a.ctx(), Source{Host: "127.0.0.1", Port: a.Port(), SlotName: name}); err == nil || !strings.Contains(err.Error(), "invalid character") {
			t.Errorf("slot %q over the replication protocol: %v", name, err)
		}
		sql, err := roleSQL(Credentials{Username: name, Password: name}, "LOGIN")
		if err != nil {
			t.Errorf("role %q: %v", name, err)
			continue
		}
		a.sql(strings.Join(sql, "; "))
		if got := a.sql("select count(*) from pg_roles where rolname = " + quoteLiteral(name)); got != "1" {
			t.Errorf("%s roles are named %q", got, name)
		}
	}
	b := newNode(t, `sta\nd'by "#`, func(o *Options) { o.Superuser, o.Replication, o.Rewind = a.o.Superuser, a.o.Replication, a.o.Rewind })
	b.settings = a.settings
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	b.config(b.upstream(a))
	b.start(false)
	b.waitStreaming(a)
	wait(t, "one that streams as "+b.o.Name, func() (bool, string) { // those of the copy outlive it a little
		got := a.sql("select string_agg(application_name, ', ') from pg_stat_replication")
		return got == b.o.Name, got
	})
	info, err := os.Stat(b.o.PgPass)
	b.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the password file has mode %v", info.Mode())
	}
	info, err = os.Stat(b.o.DataDir)
	b.must(err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory has mode %v", info.Mode())
	}
}

func TestASuperuserThatInitdbCannotQuoteIsRefusedBeforeAnything(t *testing.T) {
	n := newNode(t, "a", func(o *Options) { o.Superuser.Username = `su"per` })
	if _, err := n.InitDB(n.ctx(), InitSpec{}); !errors.Is(err, ErrOptions) {
		t.Errorf("initdb: %v", err)
	}
	// What PostgreSQL says of it holds the password, which we do not pass on.
	for _, password := range []string{`su'per \"secret`, "plain-secret"} {
		n.o.Superuser.Password = password
		for _, said := range []string{"ALTER USER x WITH PASSWORD E'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(password) + "';", "password=" + quoteConninfo(password), password} {
			if got := n.withoutPasswords(said); strings.Contains(got, "secret") {
				t.Errorf("%s becomes %s", said, got)
			}
		}
	}
}

// A trigger file that a configuration from before pgkeeper names promotes nobody past the
// guard, and what somebody set by ALTER SYSTEM neither keeps a standby from its upstream nor
// commits from their standbys.
func TestLeftoversOfOtherConfigurationsDoNotWin(t *testing.T) {
	a := primary(t, "a")
	b := standby(t, "b", a)
	trigger := filepath.Join(t.TempDir(), "trigger")
	b.must(os.WriteFile(filepath.Join(b.o.DataDir, baseName), []byte("promote_trigger_file = '"+trigger+"'\n"), 0o600))
	b.config(b.upstream(a))
	b.must(b.Reload(b.ctx()))
	wait(t, "the reload", func() (bool, string) {
		got := b.sql("select coalesce(current_setting('promote_trigger_file', true), '')")
		return got == "", got
	})
	b.must(os.WriteFile(trigger, nil, 0o644))

	b.sql("alter system set primary_conninfo = 'host=elsewhere'")
	b.must(b.Reload(b.ctx()))
	b.must(b.Follow(b.ctx(), Upstream{}))
	if got := b.look().PrimaryConninfo; got != "" {
		t.Errorf("it was to follow nobody, and goes by %q", got)
	}
	a.sql("alter system set synchronous_standby_names = 'nobody'")
	a.must(a.Reload(a.ctx()))
	_, err := a.SetSync(a.ctx(), `ANY 1 ("b")`)
	a.must(err)
	if got := a.sql("show synchronous_standby_names"); got != `ANY 1 ("b")` {
		t.Errorf("commits wait for %q", got)
	}
	if n := b.look(); n.Mode != cluster.ModeStandby {
		t.Errorf("it is %s: the trigger file has promoted it", n.Mode)
	}
}
