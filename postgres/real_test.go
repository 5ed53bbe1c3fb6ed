//go:build integration

package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestANewClusterHasChecksumsRolesAndNoTombstone(t *testing.T) {
	n := newNode(t, "a")
	began := time.Now()
	id := n.initDB()
	t.Logf("measured: initdb and roles took %s", time.Since(began).Round(time.Millisecond))
	state, err := n.Disk(n.ctx())
	n.must(err)
	if state.Data != cluster.DataValid || state.SystemID != id || !state.Control.Checksums || state.Control.State != cluster.ControlShutdown {
		t.Fatalf("unexpected directory: %+v", state)
	}
	n.config(nil)
	n.start(true)
	for name, c := range passwords {
		n.must(n.login(c))
		wrong := c
		wrong.Password = "wrong"
		if err := n.login(wrong); sqlState(err) != stateInvalidPassword {
			t.Errorf("login as %s with a wrong password: %v", name, err)
		}
	}
	if got := n.sql("select string_agg(rolname || ':' || rolsuper || ':' || rolreplication || ':' || left(rolpassword, 13), ' ' order by rolname) from pg_authid where rolcanlogin"); got != "postgres:true:true:SCRAM-SHA-256 replicator:false:true:SCRAM-SHA-256 rewinder:false:false:SCRAM-SHA-256" {
		t.Errorf("roles are %s", got)
	}
	if got := n.sql("select has_function_privilege('rewinder', 'pg_read_binary_file(text,bigint,bigint,boolean)', 'execute')"); got != "t" {
		t.Error("the rewind role may not read files")
	}
	if log, _ := os.ReadFile(n.o.LogPath); strings.Contains(string(log), "secret") {
		t.Error("a password stands in the server's log")
	}
}

func TestControlDataIsReadAsPgControldataReadsIt(t *testing.T) {
	n := primary(t, "a")
	n.sql("create table t as select generate_series(1, 1000)")
	n.stop(syscall.SIGINT)
	state, err := n.Disk(n.ctx())
	n.must(err)
	want := n.controldata()
	got := map[string]string{
		"Database system identifier":         state.SystemID,
		"Database cluster state":             state.Control.State.String(),
		"Latest checkpoint location":         state.Control.Checkpoint.String(),
		"Latest checkpoint's REDO location":  state.Control.Redo.String(),
		"Minimum recovery ending location":   state.Control.MinRecovery.String(),
		"max_connections setting":            itoa(state.Control.MaxConnections),
		"max_worker_processes setting":       itoa(state.Control.MaxWorkers),
		"max_wal_senders setting":            itoa(state.Control.MaxWalSenders),
		"max_prepared_xacts setting":         itoa(state.Control.MaxPrepared),
		"max_locks_per_xact setting":         itoa(state.Control.MaxLocks),
		"Latest checkpoint's TimeLineID":     itoa(int(state.Control.Timeline)),
		"Min recovery ending loc's timeline": itoa(int(state.Control.MinRecoveryTLI)),
		"wal_log_hints setting":              map[bool]string{true: "on", false: "off"}[state.Control.WalLogHints],
	}
	for name, value := range got {
		if want[name] != value {
			t.Errorf("%s: read %q, pg_controldata says %q", name, value, want[name])
		}
	}
	segment := segmentName(1, state.Control.Checkpoint, 16<<20)
	dump := n.tool("pg_waldump", "--path="+n.data("pg_wal"), "--start="+state.Control.Checkpoint.String(), "--limit=1", "--stats", segment)
	_ = dump
	// After a clean shutdown nothing follows the checkpoint: a start writes its
	// first record exactly at its end.
	n.start(true)
	n.stop(syscall.SIGINT)
	after := n.tool("pg_waldump", "--path="+n.data("pg_wal"), "--start="+state.Control.CheckpointEnd.String(), "--limit=1", segment)
	if !strings.Contains(after, "prev "+lsnPadded(state.Control.Checkpoint)) {
		t.Errorf("no record whose predecessor is the checkpoint begins at %s: %s", state.Control.CheckpointEnd, after)
	}
}

func TestLookTellsWhatTheServerIs(t *testing.T) {
	n := newNode(t, "a")
	if state := n.look(); state.Mode != cluster.ModeStopped || state.Data != cluster.DataEmpty {
		t.Fatalf("nothing there: %+v", state)
	}
	id := n.initDB()
	n.config(nil)
	n.must(n.SetStandbySignal(false))
	spec, err := n.StartSpec(true, n.settings)
	n.must(err)
	n.spawn(spec)
	seen := map[cluster.Mode]bool{}
	wait(t, "a primary", func() (bool, string) {
		state, err := n.Look(n.t.Context(), true, n.pid())
		if err == nil {
			seen[state.Mode] = true
		}
		return seen[cluster.ModePrimary], ""
	})
	if seen[cluster.ModeStandby] || seen[cluster.ModeStopped] {
		t.Errorf("a starting server was taken for %v", seen)
	}
	_, err = n.EnsureSlots(n.ctx(), []string{"b"}, SlotPolicy{})
	n.must(err)
	state := n.look()
	want := cluster.NodeState{
		Mode: cluster.ModePrimary, Data: cluster.DataValid, SystemID: id, Timeline: 1, ServerVersion: n.Version(),
		PostmasterPID: n.pid(), Slots: state.Slots, Walsenders: []cluster.Walsender{}, PendingRestart: map[string]cluster.PendingReason{},
		Control: state.Control, WriteLSN: state.WriteLSN, PostmasterTime: state.PostmasterTime, CheckpointerPID: state.CheckpointerPID,
	}
	if diff := cmp.Diff(want, state); diff != "" {
		t.Errorf("look (-want +got):\n%s", diff)
	}
	if len(state.Slots) != 1 || state.Slots[0].Name != "b" || !state.Slots[0].Restart.Known() || !state.WriteLSN.Known() {
		t.Errorf("slots %+v at %s", state.Slots, state.WriteLSN)
	}
	n.must(n.Checkpoint(n.ctx()))

	// A process that crashes has the postmaster recover, and start all others anew.
	before := state.CheckpointerPID
	if before == 0 {
		t.Fatal("the checkpointer is not seen")
	}
	n.must(syscall.Kill(before, syscall.SIGKILL))
	wait(t, "another checkpointer under the same postmaster", func() (bool, string) {
		state, err := n.Look(n.t.Context(), true, n.pid())
		return err == nil && state.CheckpointerPID != 0 && state.CheckpointerPID != before, fmt.Sprint(state.CheckpointerPID, err)
	})
}

func TestALookAtAForeignServerIsAnError(t *testing.T) {
	a := primary(t, "a")
	b := newNode(t, "b", func(o *Options) { o.Listen, o.SocketDir = a.o.Listen, a.o.SocketDir })
	b.initDB()
	if _, err := b.Look(b.ctx(), true, a.pid()); !errors.Is(err, ErrForeignServer) {
		t.Errorf("error is %v", err)
	}
	if err := b.CheckPort(b.ctx()); !errors.Is(err, ErrPortInUse) {
		t.Errorf("port check says %v", err)
	}
}

func TestAWrongPasswordIsNamedWithItsPlace(t *testing.T) {
	a := primary(t, "a")
	b := newNode(t, "b", func(o *Options) {
		o.Replication.Password, o.Replication.Configured = "wrong", "postgresql.authentication.replication"
	})
	_, err := b.SourceInfo(b.ctx(), b.source(a))
	if !errors.Is(err, ErrAuthentication) || !strings.Contains(err.Error(), "postgresql.authentication.replication.password") {
		t.Errorf("error is %v", err)
	}
	err = b.Clone(b.ctx(), Source{Host: "127.0.0.1", Port: a.Port()}, nil)
	if !errors.Is(err, ErrAuthentication) || strings.Contains(err.Error(), "PGPASSWORD") {
		t.Errorf("error is %v", err)
	}
	if state := b.look(); state.Data != cluster.DataEmpty {
		t.Errorf("a failed clone left %s", state.Data)
	}
}

// TestAKilledInitDBIsKnownByItsIdentifier: what it left is in nobody's way, whoever has
// made the cluster meanwhile.
func TestAKilledInitDBIsKnownByItsIdentifier(t *testing.T) {
	script := filepath.Join(space(t), "initdb")
	text := "#!/bin/sh\n" + filepath.Join(binDir(t), "initdb") + " \"$@\" && exec sleep 600\n" // most of its time is spent after it has named the cluster
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {                          //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	n := newNode(t, "a", func(o *Options) {
		from, err := filepath.Rel(o.BinDir, script)
		if err != nil {
			t.Fatal(err)
		}
		o.BinName = map[string]string{"initdb": from}
	})
	ctx, cancel := contextWithCancel(t)
	done := make(chan error, 1)
	go func() { _, err := n.InitDB(ctx, InitSpec{}); done <- err }()
	wait(t, "the cluster to have its identifier", func() (bool, string) {
		grave, err := n.Tombstone()
		return err == nil && grave != nil && grave.SystemID != "", fmt.Sprint(grave, err)
	})
	if state := n.look(); state.Data != cluster.DataTombstone || state.SystemID != "" {
		t.Errorf("directory is %s of system %q", state.Data, state.SystemID)
	}
	if _, what, err := n.remains(); what != remainsDisposable || err != nil {
		t.Errorf("its remains are %d, %v", what, err)
	}
	cancel()
	if err := <-done; err == nil || n.look().Data != cluster.DataEmpty {
		t.Errorf("cancelled: %v, left %s", err, n.look().Data)
	}
}

func TestADirectoryMovedAsideIsStillAGoodCopy(t *testing.T) {
	a := primary(t, "a")
	if _, err := a.MoveAside(a.ctx()); !errors.Is(err, ErrRunning) {
		t.Fatalf("moving a running server: %v", err)
	}
	a.stop(syscall.SIGINT)
	id := a.look().SystemID
	first, err := a.MoveAside(a.ctx())
	a.must(err)
	if state := a.look(); state.Data != cluster.DataEmpty {
		t.Fatalf("the place is %s", state.Data)
	}
	second := a.initDB()
	a.must(a.bury(Tombstone{Kind: TombstoneInit, SystemID: second})) // never complete: it must not push out the good one
	_, err = a.MoveAside(a.ctx())
	a.must(err)
	old := newNode(t, "old", func(o *Options) { o.DataDir = first })
	if state := old.look(); state.Data != cluster.DataValid || state.SystemID != id || id == second {
		t.Errorf("the good copy is %+v", state)
	}
	found, _ := a.dirs()
	if len(found) != 1 {
		t.Errorf("copies: %v", found)
	}
}
