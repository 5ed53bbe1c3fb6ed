//go:build integration || bench

package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// initWith runs InitDB with a script of its own, which is given dir as first argument.
func (n *node) initWith(ctx context.Context, script string) (dir string, err error) {
	n.t.Helper()
	dir = space(n.t)
	path := filepath.Join(dir, "script")
	n.must(os.WriteFile(path, []byte("#!/bin/sh -e\ndir=$1 dsn=$2\n"+strings.ReplaceAll(script, "psql", n.bin("psql"))), 0o755)) //nolint:gosec // the server's user runs it
	_, err = n.InitDB(ctx, InitSpec{PostBootstrap: []string{path, dir}, Config: ConfigSpec{Settings: n.settings}})
	return dir, err
}

func (n *node) nothingLeft() {
	n.t.Helper()
	entries, err := os.ReadDir(n.o.DataDir)
	n.must(err)
	if len(entries) > 0 {
		n.t.Errorf("%d entries are left in the data directory", len(entries))
	}
	if grave, err := n.Tombstone(); grave != nil || err != nil {
		n.t.Errorf("the tombstone is %+v (%v)", grave, err)
	}
	if _, err := os.Stat(filepath.Join(n.o.StateDir, "bootstrap")); !errors.Is(err, os.ErrNotExist) {
		n.t.Errorf("the socket directory is left: %v", err)
	}
}

func TestPostBootstrapRunsAgainstAServerThatNobodyElseReaches(t *testing.T) {
	n := newNode(t, "a", func(o *Options) { o.StateDir = filepath.Join(o.SocketDir, "state") })
	n.settings.PostgreSQL.Parameters = map[string]string{
		"work_mem": "5MB", "archive_mode": "on", "archive_command": "false", "synchronous_standby_names": "nobody", "logging_collector": "on", "log_min_messages": "panic",
	}
	t.Setenv("PATRONI_SUPERUSER_PASSWORD", passwords["superuser"].Password)
	t.Setenv("OF_THE_SITE", "kept")
	dir, err := n.initWith(n.ctx(), `
printf '%s\n' "$dsn" > "$dir/dsn"
env > "$dir/env"
stat -c %a "$PGPASSFILE" > "$dir/mode"
psql -w "$dsn" -qAtc "create table made as select current_user, current_setting('work_mem') as mem, current_setting('archive_mode') as archive" -c "create role app"
if psql -w "host=127.0.0.1 port=`+n.Port()+` dbname=postgres user=postgres" -c 'select 1' 2>"$dir/tcp"; then exit 9; fi
ls "`+n.o.SocketDir+`"/.s.PGSQL.* > "$dir/sockets" 2>/dev/null || true`)
	n.must(err)
	read := func(name string) string {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(dir, name))
		n.must(err)
		return strings.TrimSpace(string(content))
	}
	if got, want := read("dsn"), "dbname=postgres user=postgres host="+filepath.Join(n.o.StateDir, "bootstrap")+" port="+n.Port(); got != want {
		t.Errorf("the connection string is %q, want %q", got, want)
	}
	env := read("env")
	if strings.Contains(env, passwords["superuser"].Password) || strings.Contains(env, "PATRONI_") || !strings.Contains(env, "OF_THE_SITE=kept") {
		t.Errorf("the environment is\n%s", env)
	}
	if read("mode") != "600" || !strings.Contains(read("tcp"), "refused") || read("sockets") != "" {
		t.Errorf("password file %s, by TCP %q, sockets %q", read("mode"), read("tcp"), read("sockets"))
	}
	if _, err := os.Stat(filepath.Join(n.o.StateDir, "bootstrap")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket and password file are left: %v", err)
	}

	n.settings.PostgreSQL.Parameters = nil
	n.config(nil)
	n.start(true)
	if got := n.sql("select current_user || mem || archive || (select count(*) from pg_roles where rolname = 'app') from public.made"); got != "postgres5MBoff1" {
		t.Errorf("the script made %q", got)
	}
}

func TestTheSetupOfComposeIsAPostBootstrapScript(t *testing.T) {
	n := newNode(t, "a")
	setup, err := os.ReadFile("../deploy/compose/setup.sh")
	n.must(err)
	_, err = n.initWith(n.ctx(), `echo "an app's" > "$dir/app"; echo "a pooler's" > "$dir/pooler"`+"\n"+
		strings.NewReplacer("/run/secrets/pgkeeper/", "$dir/", `-d "$1"`, `-d "$dsn"`).Replace(string(setup)))
	n.must(err)
	n.config(nil)
	n.start(true)
	if got := n.sql("select pg_get_userbyid(datdba) || (select string_agg(rolname, ' ' order by rolname) from pg_roles where rolname in ('app', 'pgbouncer_auth') and rolcanlogin) from pg_database where datname = 'app'"); got != "appapp pgbouncer_auth" {
		t.Errorf("the script made %q", got)
	}
}

func TestAFailedPostBootstrapLeavesNothingAndSaysWhy(t *testing.T) {
	n := newNode(t, "a")
	_, err := n.initWith(n.ctx(), `cat "$PGPASSFILE"; echo the disk is on fire >&2; exit 3`)
	if err == nil || !strings.Contains(err.Error(), "bootstrap.post_bootstrap: exit status 3") || !strings.Contains(err.Error(), "*:*:*:postgres:***; the disk is on fire") {
		t.Errorf("the error is %v", err)
	}
	n.nothingLeft()
	if _, err = n.initWith(n.ctx(), `psql -w "$dsn" -v ON_ERROR_STOP=1 -c "select nothing"`); err == nil || !strings.Contains(err.Error(), `column "nothing" does not exist`) {
		t.Errorf("the error of a statement is %v", err)
	}
	n.nothingLeft()
	_, err = n.InitDB(n.ctx(), InitSpec{PostBootstrap: []string{"/no/such/script"}, Config: ConfigSpec{Settings: n.settings}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error of a missing script is %v", err)
	}
	n.nothingLeft()
	n.initDB()
}

func TestACancelledPostBootstrapEndsWithItsServer(t *testing.T) {
	n := newNode(t, "a")
	ctx, cancel := context.WithCancel(n.ctx())
	defer cancel()
	begun := filepath.Join(space(t), "begun")
	go func() {
		wait(t, "the script to begin", func() (bool, string) {
			_, err := os.Stat(begun)
			return err == nil, "no file"
		})
		cancel()
	}()
	if _, err := n.initWith(ctx, `psql -w "$dsn" -c "create table big as select generate_series(1, 100000)"; touch `+begun+`; sleep 600`); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	n.nothingLeft()
	n.initDB()
}
