//go:build integration

package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// diverge makes an old primary a, which wrote lost after b was promoted, and died.
func diverge(t *testing.T, lost string, change ...func(*Options)) (a, b *node) {
	t.Helper()
	a = newNode(t, "a", change...)
	// It commits too, which would be counted, when a test takes longer than its minute.
	a.settings.PostgreSQL.Parameters = map[string]string{"autovacuum": "off"}
	a.initDB()
	a.config(nil)
	a.start(true)
	a.sql("create table kept as select generate_series(1, 1000) i; create table gone (i int)")
	b = standby(t, "b", a)
	b.promoteTo(3)
	b.must(b.Checkpoint(b.ctx()))
	a.sql(lost)
	a.stop(syscall.SIGKILL)
	_, err := b.EnsureSlots(b.ctx(), []string{"a"}, SlotPolicy{})
	b.must(err)
	return a, b
}

func (n *node) losing(from *node, by string) Losing {
	n.t.Helper()
	info, err := n.SourceInfo(n.ctx(), n.source(from))
	n.must(err)
	return Losing{Node: n.look(), Info: info, Source: n.source(from), Member: from.o.Name, By: by, Limit: 1 << 30}
}

func TestAbandonedWALIsKeptAndCountedBeforeARewind(t *testing.T) {
	a, b := diverge(t, `
		begin; insert into gone select generate_series(1, 20); commit;
		begin; update kept set i = -i where i <= 5; savepoint x; delete from kept where i = 10; commit;
		begin; insert into kept values (77); rollback;
		create table fresh as select 1 i, repeat(md5('x'), 1000) x`)
	began := time.Now()
	lost, found, err := a.KeepLost(a.ctx(), a.losing(b, "rewind"))
	a.must(err)
	t.Logf("measured: abandoned WAL kept and counted in %s: %+v", time.Since(began).Round(time.Millisecond), lost)
	if !found || lost.Transactions != 3 || lost.Note != "" || lost.Timeline != 1 || lost.To <= lost.From {
		t.Errorf("lost %+v", lost)
	}
	tables := map[string]cluster.LostTable{}
	for _, table := range lost.Tables {
		tables[table.String()] = table
	}
	if got := tables["postgres:public.gone"]; got.Inserted != 20 {
		t.Errorf("tables are %v", lost.Tables)
	}
	if got := tables["postgres:public.kept"]; got.Updated != 5 || got.Deleted != 1 || got.Inserted != 0 {
		t.Errorf("tables are %v", lost.Tables)
	}
	for name := range tables {
		if strings.Contains(name, "pg_") {
			t.Errorf("the catalog %s is no table of a user's", name)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, lost.FirstCommit); err != nil || time.Since(at) > time.Hour {
		t.Errorf("first commit at %q, %v", lost.FirstCommit, err)
	}
	// What was kept is WAL: pg_waldump reads the same from it.
	if len(lost.Files) == 0 {
		t.Fatal("no WAL was kept")
	}
	kept := a.lostDir(lost.ID)
	a.must(os.Chmod(filepath.Dir(kept), 0o755)) //nolint:gosec // the server's user must read it here
	a.must(os.Chmod(kept, 0o755))               //nolint:gosec // likewise
	for _, name := range lost.Files {
		a.must(os.Chmod(filepath.Join(kept, name), 0o644)) //nolint:gosec // likewise
	}
	out, err := a.run(a.ctx(), job{program: "pg_waldump", args: []string{"-p", kept, "-t", "1", "-s", cluster.LSN(lost.From).String(), "-r", "Transaction"}})
	if count := strings.Count(out, "COMMIT"); count != 3 {
		t.Errorf("the copy has %d commits: %v", count, err)
	}
	// Another try of the same rejoin finds it, and one whose WAL is gone loses nothing.
	again, found, err := a.KeepLost(a.ctx(), a.losing(b, "rewind"))
	if err != nil || !found || again.Transactions != 3 {
		t.Errorf("again: %+v, %t, %v", again, found, err)
	}
	began = time.Now()
	rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{Lost: lost.ID})
	if err != nil || !rewound {
		t.Fatalf("rewind: %t, %v", rewound, err)
	}
	t.Logf("measured: rewind that names new tables took %s", time.Since(began).Round(time.Millisecond))
	all, err := ReadLost(a.o.StateDir)
	if err != nil || len(all) != 1 || len(all[0].Tables) != 3 || all[0].Tables[2].String() != "postgres:public.fresh (new)" {
		t.Errorf("after the rewind: %+v, %v", all, err)
	}
	if err != nil || len(all) != 1 || all[0].Transactions != 3 {
		t.Errorf("after the rewind: %+v, %v", all, err)
	}
	a.config(a.upstream(b))
	a.start(false)
	a.waitStreaming(b)
}

func TestAnOldPrimaryWithoutLostTransactionsLeavesNoRecord(t *testing.T) {
	a, b := diverge(t, "checkpoint; begin; insert into gone values (1); rollback")
	lost, found, err := a.KeepLost(a.ctx(), a.losing(b, "rewind"))
	if err != nil || found {
		t.Errorf("lost %+v, %v", lost, err)
	}
	if all, err := ReadLost(a.o.StateDir); err != nil || len(all) != 0 {
		t.Errorf("recorded %+v, %v", all, err)
	}
}

func TestTheWALThatIsKeptIsBounded(t *testing.T) {
	a, b := diverge(t, "begin; insert into gone select generate_series(1, 100); commit; select pg_switch_wal(); begin; insert into gone values (1); commit; select pg_switch_wal(); begin; insert into gone values (2); commit")
	losing := a.losing(b, "clone")
	losing.Limit = 20 << 20 // one file and a bit
	lost, found, err := a.KeepLost(a.ctx(), losing)
	a.must(err)
	if !found || lost.Transactions != 3 || len(lost.Files) != 1 || lost.Bytes != 16<<20 || !strings.Contains(lost.Note, "1 of 3 WAL files") {
		t.Errorf("lost %+v", lost)
	}
	// The next one takes its place, and its summary stays.
	next := cluster.Lost{Member: "a", ID: "00000009-0000000000000001", Found: time.Now().Add(time.Hour).Format(time.RFC3339), Bytes: 16 << 20}
	a.must(a.writeLost(next, losing.Limit))
	all, err := ReadLost(a.o.StateDir)
	a.must(err)
	if len(all) != 2 || all[0].ID != next.ID || all[1].Transactions != 3 || len(all[1].Files) != 0 || !strings.Contains(all[1].Note, "make room") {
		t.Errorf("kept %+v", all)
	}
	if left, _ := filepath.Glob(filepath.Join(a.lostDir(lost.ID), "0*")); len(left) != 0 {
		t.Errorf("WAL left: %v", left)
	}
}

// TestTheRecoveryBeforeARewindKeepsTheWALItNeeds: without slots and wal_keep_size,
// the checkpoint at the end of pg_rewind's own recovery removes the WAL back to the
// last common checkpoint, and the rewind fails for want of it.
func TestTheRecoveryBeforeARewindKeepsTheWALItNeeds(t *testing.T) {
	a := tuned(t, "a", map[string]string{"wal_keep_size": "0", "checkpoint_timeout": "1h"})
	a.sql("create table kept as select generate_series(1, 1000) i")
	b := standby(t, "b", a)
	b.promoteTo(3)
	b.must(b.Checkpoint(b.ctx()))
	_, err := b.EnsureSlots(b.ctx(), []string{"a"}, SlotPolicy{})
	b.must(err)
	wait(t, "the walsender to go", func() (bool, string) { return len(a.look().Walsenders) == 0, "" })
	a.must(a.DropSlot(a.ctx(), "b"))
	first := a.sql("select pg_walfile_name(redo_lsn) from pg_control_checkpoint()")
	// Files that a checkpoint would recycle, and no checkpoint yet.
	for range 2 {
		a.sql("insert into kept values (1); select pg_switch_wal()")
	}
	a.stop(syscall.SIGKILL)
	if _, err := os.Stat(a.data("pg_wal", first)); err != nil {
		t.Fatalf("setup: %v", err)
	}
	rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{})
	if err != nil || !rewound {
		t.Fatalf("rewind: %t, %v", rewound, err)
	}
	a.config(a.upstream(b))
	a.start(false)
	a.waitStreaming(b)
}

// stopsWithItsWAL shuts a server down that was told to keep WAL, of which a checkpoint would
// recycle some, and finds the first of it.
func (n *node) stopsWithItsWAL() {
	n.t.Helper()
	first := n.sql("select pg_walfile_name(redo_lsn) from pg_control_checkpoint()")
	n.sql("create table t as select 1 i; select pg_switch_wal(); insert into t values (1); select pg_switch_wal(); insert into t values (2)")
	n.must(n.KeepWAL(n.ctx()))
	n.stop(syscall.SIGINT)
	n.must(n.owner.do(func() error { _, err := os.Stat(n.data("pg_wal", first)); return err }))
}

func TestARunningServerThatKeepsItsWALShutsDownWithoutRemovingAny(t *testing.T) {
	a := tuned(t, "a", map[string]string{"wal_keep_size": "0"})
	a.stopsWithItsWAL()
	// The next start is an ordinary one again.
	a.config(nil)
	a.start(true)
	if got := a.sql("show wal_keep_size"); got != "0" {
		t.Errorf("wal_keep_size is %s", got)
	}
}

func TestWALIsKeptForARewindWhateverWasSetByAlterSystem(t *testing.T) {
	a := primary(t, "a")
	a.sql("alter system set wal_keep_size = 0")
	a.must(a.Reload(a.ctx()))
	set := a.read(autoName)
	a.stopsWithItsWAL()
	a.config(nil)
	if got := a.read(autoName); got != set {
		t.Errorf("what was set is\n%s, want\n%s", got, set)
	}
}

func TestARewindWhoseWALIsGoneFetchesItFromTheArchiveOrAsksForAClone(t *testing.T) {
	a, b := diverge(t, "insert into gone values (1); select pg_switch_wal(); checkpoint; insert into gone values (2)")
	archive := a.o.DataDir + ".archive"
	// The checkpoint that the two have in common is where a crash recovery begins,
	// so it can be gone only after that.
	control := a.look().Control
	common := segmentName(1, control.Redo, 16<<20)
	lock, err := a.lockJob()
	a.must(err)
	a.must(a.readyForRewind(a.ctx(), lock, control.State, Rewinding{}))
	a.must(lock.Close())
	a.must(a.owner.do(func() error {
		return errors.Join(os.Mkdir(archive, 0o700), os.Rename(a.data("pg_wal", common), filepath.Join(archive, common)))
	}))
	if _, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); !errors.Is(err, ErrNeedClone) {
		t.Fatalf("without the WAL: %v", err)
	}
	rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{RestoreCommand: "cp " + archive + "/%f %p && test %r"})
	if err != nil || !rewound {
		t.Fatalf("with an archive: %t, %v", rewound, err)
	}
	a.config(a.upstream(b))
	a.start(false)
	a.waitStreaming(b)
}

func TestAServerThatCannotBeRecoveredIsLeftAsItWas(t *testing.T) {
	a, b := diverge(t, "insert into gone values (1)")
	control := a.look().Control
	a.must(a.owner.do(func() error { return os.Remove(a.data("pg_wal", segmentName(1, control.Redo, 16<<20))) }))
	if _, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "recover the server") {
		t.Errorf("error is %v", err)
	}
	if grave, err := a.Tombstone(); grave != nil || err != nil {
		t.Errorf("nothing was changed, and there is a tombstone: %+v, %v", grave, err)
	}
}

func TestAStandbyIsCopiedInPlaceOfItsPrimary(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t as select generate_series(1, 1000) i")
	b := standby(t, "b", a)
	c := newNode(t, "c")
	from, keeper := c.source(b), c.source(a)
	from.Keeper = &keeper
	standing, err := c.SourceInfo(c.ctx(), from)
	c.must(err)
	proof, err := c.SourceInfo(c.ctx(), keeper)
	c.must(err)
	if why := Standing(proof, standing); why != "" {
		t.Fatalf("the standby is refused: %s", why)
	}
	began := time.Now()
	c.must(c.Clone(c.ctx(), from, nil))
	t.Logf("measured: clone from a standby took %s", time.Since(began).Round(time.Millisecond))
	wait(t, "the end of the slot of the copy", func() (bool, string) { // with its walsender, which outlives the copy a little
		slots := b.sql("select count(*) from pg_replication_slots")
		return slots == "0", slots
	})
	if slots := a.sql("select string_agg(slot_name, ' ' order by slot_name) from pg_replication_slots"); slots != "b c" {
		t.Errorf("slots of the primary: %s", slots)
	}
	c.config(c.upstream(a))
	c.start(false)
	c.waitStreaming(a)
	if why := Standing(proof, proof); why == "" {
		t.Error("a primary passes for a standby")
	}
}

func TestADirectoryIsMovedAsideWhereThereIsRoom(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t as select generate_series(1, 1000) i")
	b := standby(t, "b", a)
	b.stop(syscall.SIGINT)
	size, spaces, err := b.sourceSize(b.ctx(), b.source(a))
	b.must(err)
	have, err := treeSize(b.o.DataDir)
	b.must(err)
	t.Logf("measured: the source says %d MB, the directory has %d MB", size>>20, have>>20)
	if size < have/3 || size > 3*have || len(spaces) > 0 {
		t.Errorf("the source says %d bytes and tablespaces %q, the directory has %d", size, spaces, have)
	}
	room, err := b.MakeRoom(b.ctx(), Making{Source: b.source(a), Keep: 1})
	if err != nil || room.Removed != "" || room.Aside == "" {
		t.Fatalf("room %+v, %v", room, err)
	}
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	// And given up where there is none.
	b.must(b.removeOld(b.source(a)))
	if state := b.look(); state.Data != cluster.DataEmpty {
		t.Errorf("directory is %s", state.Data)
	}
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	b.config(b.upstream(a))
	b.start(false)
	b.waitStreaming(a)
}

// TestAMemberOnMountPointsIsClonedAgain: its data directory, its WAL and a tablespace each
// are file systems of their own, and pg_basebackup wants all of them empty.
func TestAMemberOnMountPointsIsClonedAgain(t *testing.T) {
	root(t)
	a := primary(t, "a")
	spaces := space(t)
	theirs, ours, wal := filepath.Join(spaces, "theirs"), filepath.Join(spaces, "ours"), filepath.Join(spaces, "wal")
	for _, dir := range []string{theirs, ours, wal} {
		a.must(a.owner.ensureDir(dir, 0o700))
	}
	a.sql("create tablespace apart location " + quoteLiteral(theirs))
	a.sql("create table t tablespace apart as select generate_series(1, 1000) i")
	for name, mount := range map[string][]string{
		"nothing":                  nil,
		"WAL and tablespace":       {wal, ours},
		"the data directory":       {"data"},
		"all of it":                {"data", wal, ours},
		"a disk that fits it once": {"small"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newNode(t, "b", func(o *Options) {
				o.BasebackupArgs = []string{"--waldir=" + wal, "--tablespace-mapping=" + theirs + "=" + ours}
				if slices.Contains(mount, "small") {
					o.DataDir = filepath.Join(filepath.Dir(o.DataDir), "small", "data")
				}
			})
			defer func() {
				b.stop(syscall.SIGQUIT)
				b.must(b.removeAll()) // for the next
			}()
			b.must(b.owner.ensureDir(b.o.DataDir, 0o700))
			for _, dir := range mount {
				switch dir {
				case "data":
					mounted(t, b.o.DataDir, "size=300m")
				case "small":
					b.must(b.owner.ensureDir(filepath.Dir(b.o.DataDir), 0o700))
					mounted(t, filepath.Dir(b.o.DataDir), "size=36m")
				default:
					mounted(t, dir, "size=200m")
				}
			}
			for round := range 3 {
				room, err := b.MakeRoom(b.ctx(), Making{Source: b.source(a), Keep: 1})
				b.must(err)
				if want := round > 0 && len(mount) > 0; (room.Removed != "") != want {
					t.Errorf("round %d: %+v", round, room)
				}
				b.must(b.Clone(b.ctx(), b.source(a), nil))
			}
			b.config(b.upstream(a))
			b.start(false)
			b.waitStreaming(a)
			if got := b.sql("select count(*) from t"); got != "1000" {
				t.Errorf("%s rows", got)
			}
		})
	}
}

// TestADirectoryThatIsSharedBeforeARewindIsStillThatServer needs a file system that
// shares blocks (TMPDIR on XFS or Btrfs); elsewhere it shows that nothing is copied.
func TestADirectoryThatIsSharedBeforeARewindIsStillThatServer(t *testing.T) {
	a, b := diverge(t, "insert into gone select generate_series(1, 20)")
	rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{Share: true, Retain: 1})
	if err != nil || !rewound {
		t.Fatalf("rewind: %t, %v", rewound, err)
	}
	a.config(a.upstream(b))
	a.start(false)
	a.waitStreaming(b)
	if got := a.sql("select count(*) from gone"); got != "0" {
		t.Errorf("%s rows of the abandoned timeline survived", got)
	}
	left, err := a.dirs()
	a.must(err)
	if len(left) == 0 {
		t.Log("this file system shares no blocks: no copy was made")
		return
	}
	if len(left) != 1 || strings.HasSuffix(left[0], asideIncomplete) {
		t.Fatalf("copies: %v", left)
	}
	// The copy is the server as it died: it recovers, and has the rows.
	old := newNode(t, "old", func(o *Options) { o.DataDir = left[0] })
	old.config(nil)
	old.start(true)
	if got := old.sql("select count(*) from gone"); got != "20" {
		t.Errorf("the copy has %s rows, want 20", got)
	}
}

// A stand-alone backend that had only the files would stop at a prepared transaction and at a
// logical slot, and take wal_log_hints back, by which alone a server without checksums can be rewound.
func TestTheRecoveryBeforeARewindHasTheSettingsThatTheServerRanWith(t *testing.T) {
	for name, c := range map[string]struct {
		parameters map[string]string
		sql        string
		bare       bool // without checksums
	}{
		"a prepared transaction": {map[string]string{"max_prepared_transactions": "5"}, "begin; insert into kept values (2); prepare transaction 'x'", false},
		"a logical slot":         {map[string]string{"wal_level": "logical"}, "select pg_create_logical_replication_slot('l', 'pgoutput')", false},
		"many slots":             {map[string]string{"max_replication_slots": "15"}, "select count(pg_create_physical_replication_slot('s' || i)) from generate_series(1, 12) i", false},
		"hint bits alone":        {nil, "select 1", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newNode(t, "a")
			a.settings.PostgreSQL.Parameters = c.parameters
			a.initDB()
			if c.bare {
				a.tool("pg_checksums", "--disable", "--pgdata="+a.o.DataDir)
			}
			a.config(nil)
			a.start(true)
			b := standby(t, "b", a)
			a.sql("create table kept (i int)")
			a.sql(c.sql)
			b.waitStreaming(a)
			b.promoteTo(2)
			b.must(b.Checkpoint(b.ctx()))
			a.stop(syscall.SIGQUIT)
			if rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); err != nil || !rewound {
				t.Errorf("rewind: %t, %v", rewound, err)
			}
		})
	}
}
