package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestListenAddressesAreRead(t *testing.T) {
	for text, want := range map[string][]string{
		"127.0.0.1:5433": {"5433", "127.0.0.1"}, "*:5432": {"5432", "*"}, "a, 10.0.0.1:1": {"1", "a", "10.0.0.1"},
		"[::1]:5432": {"5432", "::1"}, "localhost": {"5432", "localhost"},
	} {
		hosts, port, err := parseListen(text)
		if diff := cmp.Diff(want, append([]string{port}, hosts...)); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "h:", "h:notaport", ":5432", "a,:1"} {
		if _, _, err := parseListen(text); !errors.Is(err, ErrOptions) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVersionsOfDistributionsAreRead(t *testing.T) {
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 150018, "postgres (PostgreSQL) 18beta1": 180000, "postgres (PostgreSQL) 13.4": 130004,
	} {
		if got, err := parseVersion(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	if _, err := parseVersion("bash 5"); !errors.Is(err, ErrVersion) {
		t.Errorf("nonsense: %v", err)
	}
	if _, err := versionOf(12); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "13 to 18") {
		t.Errorf("an old version: %v", err)
	}
}

func TestMissingProgramsAreNamedWithTheWayOut(t *testing.T) {
	o := Options{DataDir: "/d", BinDir: t.TempDir(), Listen: "h:1", Name: "a", Now: func() cluster.Instant { return 1 }, OSUser: "nobody"}
	if os.Geteuid() != 0 {
		o.OSUser = ""
	}
	_, err := New(o)
	if !errors.Is(err, ErrMissingBinary) || !strings.Contains(err.Error(), filepath.Join(o.BinDir, "postgres")) || !strings.Contains(err.Error(), "bin_dir") {
		t.Errorf("error is %v", err)
	}
	for name, change := range map[string]func(*Options){
		"no directory":   func(o *Options) { o.DataDir = "" },
		"relative":       func(o *Options) { o.DataDir = "data" },
		"no name":        func(o *Options) { o.Name = "" },
		"no clock":       func(o *Options) { o.Now = nil },
		"long socket":    func(o *Options) { o.SocketDir = "/" + strings.Repeat("x", 100) },
		"unknown user":   func(o *Options) { o.OSUser = "no-such-user-here" },
		"no port at all": func(o *Options) { o.Listen = "h:" },
	} {
		bad := o
		change(&bad)
		if _, err := New(bad); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Patroni's sample configuration has the socket in '..': PostgreSQL takes that from its data directory, and a dial took it for a host.
func TestARelativeSocketDirectoryStartsAtTheDataDirectory(t *testing.T) {
	s := bare(t)
	s.o.SocketDir = ".."
	if err := s.defaults(); !errors.Is(err, ErrOptions) && err != nil {
		t.Fatal(err)
	}
	want := filepath.Dir(s.o.DataDir)
	config, _, err := s.localConfig(s.o.Superuser, nil)
	if err != nil || config.Host != want || s.SocketDir() != want {
		t.Errorf("dialled is %q, the directory %q, want %q: %v", config.Host, s.SocketDir(), want, err)
	}
}

func TestArgumentsOfInitdbKeepWhatTheUserChose(t *testing.T) {
	s := bare(t)
	args, err := s.initArgs([]string{"--encoding=LATIN1", "--locale=de_DE", "--auth-host=md5", "--data-checksums", "--wal-segsize=1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"--pgdata=" + s.o.DataDir, "--username=postgres", "--no-sync", "--auth-local=scram-sha-256",
		"--encoding=LATIN1", "--locale=de_DE", "--auth-host=md5", "--data-checksums", "--wal-segsize=1"}
	if diff := cmp.Diff(want, args); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.initArgs([]string{"--pwfile=/x"}); !errors.Is(err, ErrOptions) {
		t.Errorf("a forbidden option: %v", err)
	}
	for _, arg := range []string{"-X", "--label=mine", "-lmine"} {
		s.o.BasebackupArgs = []string{arg}
		if _, err := s.cloneArgs(Source{Host: "h"}, "ours"); !errors.Is(err, ErrOptions) {
			t.Errorf("a forbidden option of pg_basebackup: %v", err)
		}
	}
	s.o.BasebackupArgs = []string{"--lab=mine"} // which pg_basebackup takes for the same
	if args, err := s.cloneArgs(Source{Host: "h"}, "ours"); err != nil || args[len(args)-1] != "--label=ours" {
		t.Errorf("the last label counts, and the arguments are %q, %v", args, err)
	}
}

func TestStatementsForRolesHoldNoPassword(t *testing.T) {
	s := bare(t)
	s.o.Replication = Credentials{Username: `re"pl'`, Password: "topsecret"}
	s.o.Rewind = Credentials{Username: "rewinder", Password: "topsecret"}
	sql, err := s.rolesSQL()
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(sql, "\n")
	if strings.Contains(all, "topsecret") || strings.Count(all, "SCRAM-SHA-256$4096:") != 2 || !strings.Contains(all, `ALTER ROLE "re""pl'" WITH LOGIN REPLICATION`) {
		t.Errorf("statements are\n%s", all)
	}
	s.o.Rewind = s.o.Superuser
	s.o.Replication.Username = "postgres"
	if sql, err := s.rolesSQL(); err != nil || len(sql) != 0 {
		t.Errorf("one role for all needs %v, %v", sql, err)
	}
	s.o.Replication = Credentials{Username: "r", Password: "two\nlines"}
	if _, err := s.rolesSQL(); !errors.Is(err, ErrOptions) {
		t.Errorf("a line break: %v", err)
	}
}

func TestAScramVerifierIsTheOneOfPostgreSQL(t *testing.T) {
	// Salt and keys of the example in RFC 7677, whose password is pencil.
	got, err := scramWithSalt("pencil", []byte{0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81})
	want := "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if err != nil || got != want {
		t.Errorf("verifier is %s, %v", got, err)
	}
}

func TestLiteralsAreQuotedWhateverTheServersSetting(t *testing.T) {
	for text, want := range map[string]string{"plain": "'plain'", "it's": "'it''s'", `a\b`: ` E'a\\b'`} {
		if got := quoteLiteral(text); got != want {
			t.Errorf("%q gives %s", text, got)
		}
	}
}

func TestProgressIsReadAndKeptOutOfErrors(t *testing.T) {
	done, total, is := parseProgress("  22913/45826 kB (50%), 0/1 tablespace")
	if !is || done != 22913<<10 || total != 45826<<10 {
		t.Errorf("read %d of %d, %t", done, total, is)
	}
	var seen []string
	l := &lines{each: func(s string) { seen = append(seen, s) }}
	for _, part := range []string{"  1/2 kB (50%), 0", "/1 tablespace\rpg_basebackup: err", "or: broken\n", "last words"} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if tail := l.tail(); tail != "pg_basebackup: error: broken; last words" {
		t.Errorf("tail is %q", tail)
	}
	if len(seen) != 3 {
		t.Errorf("lines are %q", seen)
	}
}

func TestPostmasterFilesAreRead(t *testing.T) {
	p, err := parsePidFile([]byte("123\n/data\n1700000000\n5432\n/run\nlocalhost\n  1 2\nstarting\n"))
	if diff := cmp.Diff(pidFile{123, "/data", "5432", "/run", "localhost", "starting"}, p, cmp.AllowUnexported(pidFile{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := parsePidFile(nil); !errors.Is(err, errPidFile) {
		t.Errorf("an empty file: %v", err)
	}
	want := map[string]string{"port": "5432", "cluster_name": "a b"}
	if diff := cmp.Diff(want, parseOpts(`/bin/postgres "-D" "/d" "--port=5432" "--cluster_name=a b"`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOneJobAtATimeWorksOnADirectory(t *testing.T) {
	s := bare(t)
	first, err := s.lockJob()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.lockJob(); !errors.Is(err, ErrBusy) {
		t.Errorf("a second job: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := s.lockJob()
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	_ = again.Close()
}

func TestCopiesMovedAsideArePrunedByWhatTheyAreWorth(t *testing.T) {
	s := bare(t)
	for _, name := range []string{".old-1", ".old-2-20260101T000000Z", ".old-3.incomplete", ".old-4.damaged", ".old-5.damaged", ".old-6.damaged", ".old-10", ".old-notours"} {
		if err := os.MkdirAll(s.o.DataDir+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.prune(2); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(s.o.DataDir + ".old-*")
	for i := range left {
		left[i] = strings.TrimPrefix(left[i], s.o.DataDir)
	}
	if diff := cmp.Diff([]string{".old-10", ".old-2-20260101T000000Z", ".old-5.damaged", ".old-6.damaged", ".old-notours"}, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, next := s.asides(); next != 11 {
		t.Errorf("next number is %d", next)
	}
}

func TestADirectoryIsNotMovedUnderAServerThatMayRun(t *testing.T) {
	for name, c := range map[string]struct {
		make    func(path string) error
		refused bool
	}{
		"no pid file":                {func(string) error { return nil }, false},
		"one without a process":      {func(path string) error { return os.WriteFile(path, nil, 0o600) }, false},
		"one of a process long gone": {func(path string) error { return os.WriteFile(path, []byte("2147483647\n"), 0o600) }, false},
		"one that cannot be read":    {func(path string) error { return os.Mkdir(path, 0o700) }, true},
	} {
		s := bare(t)
		s.put(t, "PG_VERSION", "15\n")
		if err := c.make(s.data("postmaster.pid")); err != nil {
			t.Fatal(err)
		}
		if path, err := s.MoveAside(t.Context()); (err != nil) != c.refused || (path == "") != c.refused {
			t.Errorf("%s: %q, %v", name, path, err)
		}
	}
}

// TestFormerCopiesGoWithAProofAlone: what is moved aside without one may be the empty
// cluster of a bootstrap that was lost, and a former copy the only one there is.
func TestFormerCopiesGoWithAProofAlone(t *testing.T) {
	s := bare(t)
	for _, name := range []string{".old-1", ".old-2.damaged", ".old-3.damaged", ".old-4.incomplete"} {
		if err := os.MkdirAll(s.o.DataDir+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (names []string) {
		paths, _ := filepath.Glob(s.o.DataDir + ".old-*")
		for _, path := range paths {
			names = append(names, strings.TrimPrefix(path, s.o.DataDir))
		}
		return names
	}
	again := func() {
		s.put(t, "PG_VERSION", "15\n")
		s.put(t, "global/pg_control", string(controlBytes(1300, nil)))
	}
	again()
	if _, err := s.MoveAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".old-1", ".old-2.damaged", ".old-3.damaged", ".old-5"}, left()); diff != "" {
		t.Errorf("without a proof (-want +got):\n%s", diff)
	}
	again()
	if _, err := s.MakeRoom(t.Context(), Making{Source: source, Keep: 1}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".old-3.damaged", ".old-6"}, left()); diff != "" {
		t.Errorf("with one (-want +got):\n%s", diff)
	}
}

func TestADirectoryIsMovedWithItsWALElsewhere(t *testing.T) {
	s := bare(t)
	s.put(t, "PG_VERSION", "15\n")
	s.put(t, "global/pg_control", string(controlBytes(1300, nil)))
	wal := filepath.Join(filepath.Dir(s.o.DataDir), "wal")
	if err := errors.Join(os.Mkdir(wal, 0o700), os.WriteFile(wal+"/segment", nil, 0o600), os.Symlink(wal, s.data("pg_wal"))); err != nil {
		t.Fatal(err)
	}
	path, err := s.MoveAside(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "pg_wal", "segment")); err != nil {
		t.Errorf("the copy lost its WAL: %v", err)
	}
	if left, err := os.ReadDir(wal); err != nil || len(left) != 0 {
		t.Errorf("the place for new WAL holds %v, %v", left, err)
	}
}

func TestAWorkingDirectoryNeverLosesAGoodCopy(t *testing.T) {
	s := bare(t)
	s.put(t, "precious", "data")
	err := s.fresh(t.Context(), Tombstone{Kind: TombstoneClone}, nil, func(*os.File) error { return errors.New("must not run") })
	if !errors.Is(err, ErrNotEmpty) {
		t.Errorf("error is %v", err)
	}
	if grave, _ := s.Tombstone(); grave != nil {
		t.Error("a refused clone left a tombstone")
	}
	// Nor does an interrupted rewind make it disposable.
	if err := s.bury(Tombstone{Kind: TombstoneRewind}); err != nil {
		t.Fatal(err)
	}
	if err := s.makeEmpty(); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("after an interrupted rewind: %v", err)
	}
	if _, err := os.Stat(s.data("precious")); err != nil {
		t.Error(err)
	}
}

func TestOurOwnLinesAreAddedWhereTheConfigurationWouldLockUsOut(t *testing.T) {
	s := bare(t)
	hosts := []string{"host replication replicator 127.0.0.1/32 md5", "host all all 0.0.0.0/0 md5"}
	want := append([]string{`local all "postgres" md5 # pgkeeper itself`, `local replication "postgres" md5 # pgkeeper itself`}, hosts...)
	if diff := cmp.Diff(want, s.withOurLines(hosts)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, hba := range map[string][]string{
		"everything":  {"local all all trust", "local replication all peer"},
		"by name":     {`local postgres,app "postgres" peer`, "local replication replicator,postgres md5"},
		"no file yet": nil,
	} {
		if diff := cmp.Diff(hba, s.withOurLines(hba)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestADirectoryOfAnotherMajorVersionIsNotStarted(t *testing.T) {
	s := bare(t)
	s.put(t, "PG_VERSION", "14\n")
	if _, err := s.StartSpec(true, cluster.DefaultSettings()); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "pg_upgrade") {
		t.Errorf("error is %v", err)
	}
}

func TestAnInterruptedRewindIsNotTriedAgain(t *testing.T) {
	s := bare(t)
	s.put(t, "global/pg_control", string(controlBytes(1300, nil)))
	if err := errors.Join(s.ensureState(), s.bury(Tombstone{Kind: TombstoneRewind, Source: "pg-2:5432"})); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.beforeRewind(); !errors.Is(err, ErrNeedClone) {
		t.Errorf("error is %v", err)
	}
	if err := s.unbury(); err != nil {
		t.Fatal(err)
	}
	s.put(t, "global/pg_control", string(controlBytes(1300, func(raw []byte) { raw[atChecksums] = 0 })))
	if _, _, err := s.beforeRewind(); !errors.Is(err, ErrNeedClone) {
		t.Errorf("without checksums and hints: %v", err)
	}
}

func TestAFailedRewindIsSortedByWhatItDidToTheDirectory(t *testing.T) {
	said := func(words string) error {
		return &failure{program: "pg_rewind", said: words, err: errors.New("exit status 1")}
	}
	for name, c := range map[string]struct {
		err     error
		touched bool
		want    error
		grave   bool
	}{
		"in the middle of copying": {said("could not write"), true, ErrDamaged, true},
		"other history":            {said("could not find common ancestor of the source and target cluster's timelines"), false, ErrNeedClone, false},
		"torn pages":               {said("pg_rewind: error: full_page_writes must be enabled in the source server"), false, ErrNeedClone, false},
		"source gone":              {said("connection to server failed: Connection refused"), false, ErrUnreachable, false},
		"wrong password":           {said("password authentication failed for user"), false, ErrAuthentication, false},
	} {
		s := bare(t)
		s.put(t, "PG_VERSION", "15")
		if err := errors.Join(s.ensureState(), s.bury(Tombstone{Kind: TombstoneRewind})); err != nil {
			t.Fatal(err)
		}
		err := s.rewindFailed(c.err, c.touched, Source{Host: "h"})
		if grave, _ := s.Tombstone(); !errors.Is(err, c.want) || (grave != nil) != c.grave {
			t.Errorf("%s: %v, tombstone %v", name, err, grave)
		}
	}
}
