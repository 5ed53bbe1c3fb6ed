//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestThreeNodesStartedAtOnceMakeOneCluster(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	primary := b.Healthy(10 * time.Second)
	for query, want := range map[string]string{
		"select current_setting('data_checksums')":                                                      "on",
		"select current_setting('password_encryption')":                                                 "scram-sha-256",
		"select count(*) from pg_authid where rolpassword like 'SCRAM-SHA-256$%'":                       "3",
		"select rolreplication and not rolsuper from pg_roles where rolname = 'replicator'":             "true",
		"select rolsuper from pg_roles where rolname = 'rewinder'":                                      "false",
		"select has_function_privilege('rewinder', 'pg_read_binary_file(text)', 'execute')":             "true",
		"select count(*) from pg_stat_replication where state = 'streaming' and usename = 'replicator'": "2",
		"select count(*) from pg_replication_slots where active and slot_type = 'physical'":             "2",
	} {
		b.WaitText(primary, query, want) // of standbys it hears later than they know themselves
	}
	inits := 0
	for _, n := range b.Nodes {
		inits += count(n.Log(), "job started", "action=initdb")
		_, err := os.Stat(filepath.Join(n.DataDir(), "standby.signal"))
		if standby := err == nil; standby != (n != primary) {
			t.Errorf("%s has standby.signal: %t, want it on standbys only", n.Name, standby)
		}
		if got, want := status(b, n).SystemID, status(b, primary).SystemID; got != want {
			t.Errorf("%s is system %s, the primary %s", n.Name, got, want)
		}
	}
	if inits != 1 {
		t.Errorf("%d nodes ran initdb, want one", inits)
	}
	if got, want := b.Key("initialize"), status(b, primary).SystemID; got != want {
		t.Errorf("the key initialize says %q, want %s", got, want)
	}
}

// endlessInitDB has the initdb of a node go on after it has made all its files.
func endlessInitDB(t *testing.T, node string) func(string, map[string]any) {
	return func(name string, config map[string]any) {
		if name != node {
			return
		}
		server := config["postgresql"].(map[string]any)
		dir := filepath.Dir(server["data_dir"].(string))
		initdb, err := testbed.ProgramPath("initdb")
		script := filepath.Join(dir, "initdb")
		from, relErr := filepath.Rel(filepath.Dir(initdb), script)
		text := "#!/bin/sh\n" + initdb + " \"$@\" || exit\ncd " + dir + " && exec sleep 600\n"
		if err := errors.Join(err, relErr, os.WriteFile(script, []byte(text), 0o755)); err != nil {
			t.Error(err)
		}
		server["bin_name"] = map[string]any{"initdb": from}
	}
}

func TestAWinnerThatDiesInTheMiddleOfBootstrapBlocksNobody(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Unstarted: true, Configure: endlessInitDB(t, "pg1")})
	winner := b.Nodes[0]
	changes, err := b.WatchKeys(t.Context())
	b.Must(err)
	b.Must(winner.Start())
	awaitChange(t, changes, 15*time.Second, "the claim of initialize", func(c testbed.Change) bool { return c.Key == "initialize" })
	b.Wait(15*time.Second, "initdb to have made a data directory", func(ctx) string {
		if _, err := os.Stat(filepath.Join(winner.DataDir(), "global", "pg_control")); err != nil {
			return err.Error()
		}
		return ""
	})
	b.Must(winner.KillAll())
	for _, n := range b.Others(winner) {
		b.Must(n.Start())
	}
	primary := b.Healthy(45 * time.Second)
	if primary == winner {
		t.Fatalf("%s is primary, and it was killed", winner.Name)
	}

	b.Must(winner.Start())
	if again := b.Healthy(45 * time.Second); again != primary {
		t.Errorf("the primary is %s, want %s still", again.Name, primary.Name)
	}
	if got, want := status(b, winner).SystemID, b.Key("initialize"); got != want {
		t.Errorf("%s is system %s, want %s as the others", winner.Name, got, want)
	}
}

func TestAStoppedServersDataIsAdopted(t *testing.T) {
	t.Parallel()
	adopted(t, func(*testbed.Node) error { return nil })
}

// TestACopyRestoredWhereACloneWasInterruptedIsAdopted: the mark of that clone is left over,
// and whoever restored a backup there by hand did not know of it.
func TestACopyRestoredWhereACloneWasInterruptedIsAdopted(t *testing.T) {
	t.Parallel()
	adopted(t, func(n *testbed.Node) error {
		mark := filepath.Join(n.StateDir(), "tombstone")
		return errors.Join(os.MkdirAll(n.StateDir(), 0o755), os.WriteFile(mark, []byte(`{"kind":"clone","label":"pgkeeper-INTERRUPTED"}`), 0o600))
	})
}

// adopted has a member found a cluster with the data that it has already.
func adopted(t *testing.T, before func(*testbed.Node) error) {
	t.Helper()
	b := bedtest.New(t, testbed.Options{Nodes: 2, Unstarted: true})
	first := b.Nodes[0]
	b.Must(first.InitDB(t.Context()))
	b.Must(first.StartServer(t.Context()))
	b.Must(first.MakeRoles(t.Context()))
	b.Must(first.Exec(t.Context(), "create table heirloom as select 1 as one"))
	_, err := first.ServerProgram(t.Context(), "pg_ctl", "-D", first.DataDir(), "-m", "fast", "stop")
	b.Must(err)
	system, err := first.SystemID(t.Context())
	b.Must(err)

	b.Must(before(first))
	b.Must(first.Start())
	b.Must(first.Healthy(t.Context(), 30*time.Second, "/primary"))
	b.Must(b.Nodes[1].Start())
	if primary := b.Healthy(30 * time.Second); primary != first {
		t.Errorf("the primary is %s, want %s", primary.Name, first.Name)
	}
	if got := b.Key("initialize"); got != system {
		t.Errorf("the cluster is system %s, want %s", got, system)
	}
	if got := b.Text(b.Nodes[1], "select one from heirloom"); got != "1" {
		t.Errorf("the heirloom is %s on the standby, want 1", got)
	}
}

func TestARunningServerIsAdoptedAsItRuns(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2, Unstarted: true})
	first := b.Nodes[0]
	b.Must(first.InitDB(t.Context()))
	b.Must(first.StartServer(t.Context()))
	b.Must(first.MakeRoles(t.Context()))
	server := pid(t, first, testbed.Postmaster)

	b.Must(first.Start())
	b.Must(first.Healthy(t.Context(), 30*time.Second, "/primary"))
	if now := pid(t, first, testbed.Postmaster); now != server {
		t.Errorf("the postmaster is %d, want %d as before", now, server)
	}
	b.Must(b.Nodes[1].Start())
	if primary := b.Healthy(30 * time.Second); primary != first {
		t.Errorf("the primary is %s, want %s", primary.Name, first.Name)
	}
}

func TestTheDataOfAnotherClusterIsRefusedAndNotTouched(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2})
	primary := b.Healthy(10 * time.Second)
	stranger, err := b.Add("stranger")
	b.Must(err)
	b.Must(stranger.InitDB(t.Context()))
	theirs, err := stranger.SystemID(t.Context())
	b.Must(err)
	ours := status(b, primary).SystemID
	before := fingerprint(t, stranger.DataDir())

	b.Must(stranger.Start())
	b.WaitStatus(stranger, 20*time.Second, "refused", func(s testbed.Status) bool {
		return s.Keeper.Reason == "foreign_system_identifier" &&
			strings.Contains(s.Keeper.Detail, theirs) && strings.Contains(s.Keeper.Detail, ours)
	})
	if _, err := stranger.PID(testbed.Postmaster); err == nil {
		t.Error("a server was started on the foreign data")
	}
	b.Must(stranger.Stop(time.Minute))
	if after := fingerprint(t, stranger.DataDir()); after != before {
		t.Errorf("the data directory was changed:\nbefore %s\nafter  %s", before, after)
	}
}

func TestAWorkerKilledInTheMiddleOfBootstrapIsContinuedByItsSuccessor(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2, Unstarted: true})
	winner := b.Nodes[0]
	b.Must(winner.Start())
	b.Wait(20*time.Second, "initdb to run", func(ctx) string {
		if count(winner.Log(), "job started", "action=initdb") == 0 {
			return "no job"
		}
		return ""
	})
	b.Must(winner.Kill(testbed.Worker))
	b.Must(winner.Healthy(t.Context(), 30*time.Second, "/primary"))
	b.Must(b.Nodes[1].Start())
	if primary := b.Healthy(30 * time.Second); primary != winner {
		t.Errorf("the primary is %s, want %s", primary.Name, winner.Name)
	}
}

// theScript has every member call one script at the end of its initdb.
func theScript(path string) func(string, map[string]any) {
	return func(_ string, config map[string]any) {
		config["bootstrap"].(map[string]any)["post_bootstrap"] = path
	}
}

func TestPostBootstrapRunsOnceOnTheWinner(t *testing.T) {
	t.Parallel()
	dir := open(t)
	script := filepath.Join(dir, "script")
	mustWrite(t, script, fmt.Sprintf("#!/bin/sh -e\necho \"$1\" >> %s/calls\npsql -w \"$1\" -v ON_ERROR_STOP=1 -c \"create database app\" -c \"create role owner login\"\n", dir))
	b := bedtest.New(t, testbed.Options{Configure: theScript(script)})
	primary := b.Healthy(20 * time.Second)
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	b.Must(err)
	if count(string(calls), "dbname=postgres user=postgres host=", primary.StateDir()) != 1 || count(string(calls), "=") != 1 {
		t.Errorf("the script was called with\n%s", calls)
	}
	for _, n := range b.Nodes {
		if got := b.Text(n, "select (select count(*) from pg_database where datname = 'app') + (select count(*) from pg_roles where rolname = 'owner')"); got != "2" {
			t.Errorf("%s has %s of the 2 things the script made", n.Name, got)
		}
	}
}

func TestAFailingPostBootstrapInitialisesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	dir := open(t)
	script := filepath.Join(dir, "script")
	mustWrite(t, script, fmt.Sprintf("#!/bin/sh\necho call >> %s/calls\necho the role file is missing >&2\nexit 3\n", dir))
	b := bedtest.New(t, testbed.Options{Nodes: 1, Configure: theScript(script), Unstarted: true})
	n := b.Nodes[0]
	b.Must(n.Start())
	const why = "bootstrap.post_bootstrap: exit status 3: the role file is missing"
	b.WaitStatus(n, 60*time.Second, "the script's reason", func(s testbed.Status) bool { return strings.Contains(s.Keeper.Detail, why) })
	b.Wait(60*time.Second, "explain to say why", func(ctx) string { // also while it is tried anew
		if got := b.Ctl("explain", n.Name).Out; !strings.Contains(got, why) {
			return got
		}
		return ""
	})
	b.Wait(60*time.Second, "the member's state between two tries", func(ctx) string {
		if got := b.Ctl("list").Out; !strings.Contains(got, "initdb failed") {
			return got
		}
		return ""
	})
	b.Wait(60*time.Second, "another try", func(ctx) string {
		if calls, _ := os.ReadFile(filepath.Join(dir, "calls")); count(string(calls), "call") < 2 {
			return "one call"
		}
		return ""
	})
	if system := b.Key("initialize"); system != "" {
		t.Errorf("the cluster is initialised as %s", system)
	}
	if !strings.Contains(n.Log(), "the role file is missing") {
		t.Error("the log has none of the script's words")
	}

	mustWrite(t, script, "#!/bin/sh\nexit 0\n")
	b.Healthy(60 * time.Second)
}

// open is a directory that the server's user can enter and write to.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o777); err != nil { //nolint:gosec // see above
			t.Fatal(err)
		}
	}
	return dir
}

// mustWrite replaces a script: one that runs keeps the file it was read from.
func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	err := os.WriteFile(next, []byte(content), 0o755) //nolint:gosec // a script
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
