package postgres

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

var update = flag.Bool("update", false, "write the golden files")

func TestTheGeneratedConfiguration(t *testing.T) {
	s := bare(t)
	s.o.DataDir, s.o.ConfigDir, s.o.StateDir = "/data", "/data", "/data.pgkeeper"
	settings := cluster.DefaultSettings()
	settings.PostgreSQL.Parameters = map[string]string{
		"max_connections": "200", "Shared_Buffers": "1GB", "log_line_prefix": `%m it's \d `, "wal_keep_segments": "16", "hba_file": "/else",
		"primary_conninfo": "host=evil", "work_mem": "4MB",
	}
	settings.PostgreSQL.RecoveryConf = map[string]string{"restore_command": "cp /archive/%f %p", "recovery_target_timeline": "current"}
	spec := ConfigSpec{Settings: settings, Local: map[string]string{"work_mem": "8MB", "port": "1", "note.lines": "one\ntwo"},
		Upstream: &Upstream{Host: "10.0.0.2", Port: "5433", SlotName: "pg_1"}}
	for name, change := range map[string]func(*ConfigSpec){
		"standby": func(*ConfigSpec) {},
		"primary": func(c *ConfigSpec) { c.Upstream = nil },
		"archive": func(c *ConfigSpec) { c.RestoreCommand = true },
	} {
		t.Run(name, func(t *testing.T) {
			spec := spec
			change(&spec)
			golden(t, "testdata/"+name+".conf", s.renderConf(spec))
		})
	}
}

func TestANameThatIsMoreThanANameIsNotWritten(t *testing.T) {
	s := bare(t)
	plain := s.renderConf(ConfigSpec{Settings: cluster.DefaultSettings()})
	for _, name := range []string{
		"work_mem = 1\nport", "a\nsynchronous_standby_names", "a\rb", "restore_command = 'x' #", "primary_conninfo=", " port", "include", "Include_if_exists", "",
	} {
		spec := ConfigSpec{Settings: cluster.DefaultSettings(), Local: map[string]string{name: "1"}, RecoveryConf: map[string]string{name: "2"}}
		spec.Settings.PostgreSQL.Parameters = map[string]string{name: "3"}
		spec.Settings.PostgreSQL.RecoveryConf = map[string]string{name: "4"}
		if diff := cmp.Diff(plain, s.renderConf(spec)); diff != "" {
			t.Errorf("%q (-without it +with it):\n%s", name, diff)
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestTheCommandLineForcesWhatMembersMustAgreeOn(t *testing.T) {
	s := bare(t)
	settings := cluster.DefaultSettings()
	settings.PostgreSQL.Parameters = map[string]string{
		"max_connections": "10", "max_wal_senders": "5", "MAX_WORKER_PROCESSES": "20", "wal_level": "minimal", "wal_log_hints": "off",
		"hot_standby": "off", "track_commit_timestamp": "on", "max_locks_per_transaction": "many", "port": "9",
	}
	want := map[string]string{
		"cluster_name": "demo", "hot_standby": "on", "listen_addresses": "127.0.0.1", "max_connections": "25",
		"max_locks_per_transaction": "64", "max_prepared_transactions": "0", "max_replication_slots": "10", "max_wal_senders": "10",
		"max_worker_processes": "20", "port": "5432", "track_commit_timestamp": "on", "unix_socket_directories": "/run/x",
		"wal_level": "replica", "wal_log_hints": "on",
	}
	forced := s.forcedFrom(settings)
	if diff := cmp.Diff(want, forced); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	up := raised(forced, cluster.ControlData{MaxConnections: 300, MaxWorkers: 8, MaxPrepared: 7})
	if up["max_connections"] != "300" || up["max_worker_processes"] != "20" || up["max_prepared_transactions"] != "7" {
		t.Errorf("a standby starts with %v", up)
	}
	if forced["max_connections"] != "25" {
		t.Error("raising changed the configured values")
	}
}

func TestTheNameOfTheClusterIsWhatTheServerShows(t *testing.T) {
	s := bare(t)
	s.o.Scope = "zürich"
	if got := s.forcedFrom(cluster.DefaultSettings())["cluster_name"]; got != "z?rich" {
		t.Errorf("it is %q", got)
	}
}

func TestWhoIsFollowedIsExchangedAndNothingElse(t *testing.T) {
	s := bare(t)
	spec := ConfigSpec{Settings: cluster.DefaultSettings(), Upstream: &Upstream{Host: "a", Port: "1", SlotName: "x"}}
	other := spec
	other.Upstream = &Upstream{Host: "b", Port: "2"}
	for _, spec.standby = range []bool{false, true} {
		for _, other.standby = range []bool{false, true} {
			got := replaceUpstream(s.renderConf(spec), s.PrimaryConninfo(*other.Upstream), other.Upstream.SlotName, other.standby)
			if diff := cmp.Diff(s.renderConf(other), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
}

func TestACrashEndsAStandbyAndNoPrimary(t *testing.T) {
	paused := cluster.DefaultSettings()
	paused.Pause = true
	s := bare(t)
	for name, c := range map[string]struct {
		spec ConfigSpec
		want bool
	}{
		"a standby":              {ConfigSpec{Settings: cluster.DefaultSettings(), standby: true}, true},
		"a primary":              {ConfigSpec{Settings: cluster.DefaultSettings()}, false},
		"a standby in a pause":   {ConfigSpec{Settings: paused, standby: true}, false},
		"one that is configured": {ConfigSpec{Settings: cluster.DefaultSettings(), Local: map[string]string{"restart_after_crash": "off"}}, false},
	} {
		if text := s.renderConf(c.spec); strings.Contains(text, crashEnds) != c.want {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestFilesAreWrittenOnceAndTheOldConfigurationIsKept(t *testing.T) {
	s := bare(t)
	s.o.PgPass = s.o.DataDir + ".pass"
	s.put(t, confName, "shared_buffers = 1GB # of initdb\n")
	s.put(t, autoName, "# do not edit\nwork_mem = '1MB'\nprimary_conninfo = 'host=stale'\n  Restore_Command='x'\n")
	spec := ConfigSpec{Settings: cluster.DefaultSettings(), PgHBA: []string{"local all all peer", "local replication all peer"}}
	text := s.renderConf(spec)
	if changed, err := s.writeFiles(spec, text); err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	if changed, err := s.writeFiles(spec, text); err != nil || changed {
		t.Errorf("the second time: changed %t, %v", changed, err)
	}
	for name, want := range map[string]string{
		baseName: "shared_buffers = 1GB # of initdb\n", confName: text, autoName: "# do not edit\nwork_mem = '1MB'\n",
		hbaName: "# Do not edit this file: pgkeeper writes it.\nlocal all all peer\nlocal replication all peer\n", identName: "",
	} {
		got, err := os.ReadFile(s.data(name))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	spec.PgHBA = nil // not configured any more: the file stays as it is
	if changed, err := s.writeFiles(spec, text); err != nil || changed {
		t.Errorf("without pg_hba: changed %t, %v", changed, err)
	}
}

func TestAPasswordFileEscapesAndIsPrivate(t *testing.T) {
	s := bare(t)
	s.o.Replication.Password = `a:b\c`
	s.o.PgPass = s.o.DataDir + ".pass"
	if err := s.writePassfile(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(s.o.PgPass)
	if err != nil || string(content) != `*:*:*:replicator:a\:b\\c`+"\n" {
		t.Errorf("file is %q, %v", content, err)
	}
	if info, _ := os.Stat(s.o.PgPass); info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %s", info.Mode())
	}
}

func TestConnectionStringsSurviveQuoting(t *testing.T) {
	settings := []keyword{{"host", "/run/a b"}, {"user", `o'neil\`}, {"dbname", "plain"}, {"options", "-c x=y"}}
	if diff := cmp.Diff(settings, parseConninfo(conninfo(settings)), cmp.AllowUnexported(keyword{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	shown := withoutSecrets(`host=h password='se cret' port = 5433 passfile=/x sslpassword=q application_name='a b'`)
	if shown != "host=h port=5433 application_name='a b'" {
		t.Errorf("shown is %s", shown)
	}
	if s := bare(t); strings.Contains(s.PrimaryConninfo(Upstream{Host: "h", Port: "1"}), "password=") || s.PrimaryConninfo(Upstream{}) != "" {
		t.Error("primary_conninfo holds a password, or is not empty for nobody")
	}
}

func FuzzParseConninfo(f *testing.F) {
	f.Add("host=a password='b c' port=1")
	f.Add(`x='unterminated \' = =`)
	f.Fuzz(func(t *testing.T, text string) {
		shown := withoutSecrets(text)
		for _, k := range parseConninfo(shown) {
			if strings.EqualFold(k.name, "password") && k.value != "" {
				t.Errorf("%q shows a password: %q", text, shown)
			}
		}
	})
}

// TestAWriteThatHasWaitedTooLongIsLeftOut: by the time another writer is done, nobody may
// want it any more, and the server that it was for may be another.
func TestAWriteThatHasWaitedTooLongIsLeftOut(t *testing.T) {
	s := bare(t)
	s.o.PgPass = filepath.Join(t.TempDir(), "pgpass")
	s.put(t, confName, confHeader)
	late := func(write func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		s.confMu.Lock()
		go func() { ended <- write(ctx) }()
		cancel()
		s.confMu.Unlock()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	late(func(ctx context.Context) error { _, err := s.writeSync(ctx, `ANY 1 ("b")`); return err })
	late(func(ctx context.Context) error { _, err := s.writeUpstream(ctx, Upstream{Host: "h"}); return err })
	if there, err := exists(s.conf(syncName)); there || err != nil {
		t.Errorf("names were written: %t, %v", there, err)
	}
	if content, _, err := readOptional(s.conf(confName)); string(content) != confHeader || err != nil {
		t.Errorf("%v, written: %s", err, content)
	}
}

// TestARewindIsPreparedBesideNoOtherWriter: it would undo what the other has written since it
// read the file, such as that nobody is followed, which a promise rests on.
func TestARewindIsPreparedBesideNoOtherWriter(t *testing.T) {
	s := bare(t)
	s.put(t, confName, confHeader+"port = 1\n")
	s.confMu.Lock()
	ended := make(chan error)
	go func() { ended <- s.confForRewind("") }()
	select {
	case err := <-ended:
		t.Fatalf("written beside another writer: %v", err)
	case <-time.After(20 * time.Millisecond): // it waits
	}
	s.put(t, confName, confHeader+"port = 2\n")
	s.confMu.Unlock()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if content, _, err := readOptional(s.conf(confName)); err != nil || !strings.Contains(string(content), "port = 2") || !strings.Contains(string(content), "wal_keep_size") {
		t.Errorf("%v; what the other wrote is gone: %s", err, content)
	}
}
