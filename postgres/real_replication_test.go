//go:build integration

package postgres

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAStandbyIsClonedFollowsAndIsRepointed(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t as select generate_series(1, 1000) i")
	var last, total int64
	b := newNode(t, "b")
	began := time.Now()
	b.must(b.Clone(b.ctx(), b.source(a), func(d, all int64) { last, total = d, all }))
	t.Logf("measured: clone of an empty database took %s", time.Since(began).Round(time.Millisecond))
	if last == 0 || total == 0 {
		t.Error("a clone reported no progress")
	}
	if err := b.Clone(b.ctx(), b.source(a), nil); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second clone into the same directory: %v", err)
	}
	b.config(b.upstream(a))
	b.start(false)
	b.waitStreaming(a)
	c := standby(t, "c", a)
	info, err := b.SourceInfo(b.ctx(), b.source(a))
	b.must(err)
	if info.SystemID != b.look().SystemID || info.InRecovery || info.Timeline != 1 {
		t.Errorf("source says %+v", info)
	}
	// Cascade: c follows b.
	_, err = b.EnsureSlots(b.ctx(), []string{"c"}, SlotPolicy{})
	b.must(err)
	began = time.Now()
	c.must(c.Follow(c.ctx(), *c.upstream(b)))
	t.Logf("measured: follow returned after %s", time.Since(began).Round(time.Millisecond))
	c.waitStreamingCascade(b)
	t.Logf("measured: re-pointed standby streams after %s", time.Since(began).Round(time.Millisecond))
	// And nobody.
	began = time.Now()
	c.must(c.Follow(c.ctx(), Upstream{}))
	t.Logf("measured: receiver gone after %s", time.Since(began).Round(time.Millisecond))
	if state := c.look(); state.Receiver != nil || state.PrimaryConninfo != "" {
		t.Errorf("still follows: %+v", state.Receiver)
	}
}

// The startup process sleeps after every receiver that ended, here for longer than the
// test waits: one that came before its slot was there must not cost that.
func TestAStandbyThatIsRepointedDoesNotSleep(t *testing.T) { repointedAtOnce(t) }

// Nor must it in a container, where root may not see what the server's processes are.
func TestAStandbyInAContainerIsRepointedToo(t *testing.T) {
	if withoutPtrace(t) {
		repointedAtOnce(t)
	}
}

func repointedAtOnce(t *testing.T) {
	t.Helper()
	a := primary(t, "a")
	b := standby(t, "b", a)
	c := newNode(t, "c")
	c.settings.PostgreSQL.Parameters = map[string]string{"wal_retrieve_retry_interval": "5min"}
	c.must(c.Clone(c.ctx(), c.source(a), nil))
	c.config(c.upstream(a))
	c.start(false)
	c.waitStreaming(a)
	up := *c.upstream(b)
	c.must(c.WriteUpstream(up))
	c.must(c.Reload(c.ctx()))
	wait(t, "a receiver that b refuses", func() (bool, string) {
		log, err := os.ReadFile(b.o.LogPath)
		return strings.Contains(string(log), `replication slot "c" does not exist`), fmt.Sprint(err)
	})
	_, err := b.EnsureSlots(b.ctx(), []string{"c"}, SlotPolicy{})
	b.must(err)
	c.must(c.hurryReceiver(c.ctx(), up, patience))
	c.waitStreamingCascade(b)
}

func (n *node) waitStreamingCascade(of *node) {
	n.t.Helper()
	wait(n.t, "cascade", func() (bool, string) {
		state := n.look()
		return state.Receiver != nil && state.Receiver.Status == "streaming" && state.Receiver.Port == of.Port(), ""
	})
}

func TestAPromotionTakesExactlyTheReservedTimeline(t *testing.T) {
	a := primary(t, "a")
	b, c := standby(t, "b", a), standby(t, "c", a)
	a.sql("create table t as select 1 i")
	b.waitStreaming(a)
	c.waitStreaming(a)
	a.stop(syscall.SIGINT)
	began := time.Now()
	b.promoteTo(5)
	t.Logf("measured: promotion to a reserved timeline took %s", time.Since(began).Round(time.Millisecond))
	if history := b.look().TimelineHistory; len(history) != 1 || history[0].Timeline != 1 {
		t.Errorf("history of timeline 5 is %+v", history)
	}
	// A standby on the old timeline follows across the gap, ...
	_, err := b.EnsureSlots(b.ctx(), []string{"a", "c", "d"}, SlotPolicy{})
	b.must(err)
	c.must(c.Follow(c.ctx(), *c.upstream(b)))
	b.sql("insert into t values (2)")
	c.waitStreaming(b)
	// ... the cleanly stopped old primary does without a rewind, ...
	a.config(a.upstream(b))
	a.start(false)
	a.waitStreaming(b)
	// ... a fresh clone does, ...
	d := standby(t, "d", b)
	// ... also after a restart, which looks for the newest timeline anew.
	c.stop(syscall.SIGINT)
	c.start(false)
	c.waitStreaming(b)
	// The clone, which never saw timelines 1 to 4, is promoted in its turn: those
	// still on timeline 5 find every file they ask for, and so does one that comes
	// from timeline 1.
	b.stop(syscall.SIGINT)
	wait(t, "d at the end", func() (bool, string) {
		seen := d.look()
		return seen.Position().LSN >= b.look().Control.CheckpointEnd, ""
	})
	d.promoteTo(9)
	_, err = d.EnsureSlots(d.ctx(), []string{"a", "b", "c"}, SlotPolicy{})
	d.must(err)
	c.must(c.Follow(c.ctx(), *c.upstream(d)))
	c.waitStreaming(d)
	b.config(b.upstream(d))
	b.start(false)
	b.waitStreaming(d)
}

// A clone has only the history file of the timeline it was taken on. Without
// placeholders below that number, a standby that comes from the first timeline
// would end each attempt with "could not open file pg_wal/00000002.history".
func TestAPromotedCloneHasEveryHistoryFileThatAnOlderStandbyAsksFor(t *testing.T) {
	a := primary(t, "a")
	late, b := standby(t, "late", a), standby(t, "b", a)
	late.stop(syscall.SIGINT)
	b.waitStreaming(a)
	a.stop(syscall.SIGINT)
	b.promoteTo(4)
	d := standby(t, "d", b)
	b.stop(syscall.SIGINT)
	wait(t, "d at the end", func() (bool, string) {
		seen := d.look()
		return seen.Position().LSN >= b.look().Control.CheckpointEnd, ""
	})
	d.promoteTo(7)
	_, err := d.EnsureSlots(d.ctx(), []string{"late"}, SlotPolicy{})
	d.must(err)
	late.config(late.upstream(d))
	late.start(false)
	// The clone has no WAL from before it was made, so late goes no further.
	wait(t, "the history of timeline 7 at late", func() (bool, string) {
		err := late.owner.do(func() error { _, err := os.Stat(late.data("pg_wal", historyName(7))); return err })
		return err == nil, fmt.Sprint(err)
	})
}

func TestPlaceholdersOfAnInterruptedPromotionDoNotKeepAStandbyFromStarting(t *testing.T) {
	a := primary(t, "a")
	b := standby(t, "b", a)
	files, err := b.HistoryFiles(1, 4)
	b.must(err)
	if len(files) != 2 {
		t.Fatalf("files are %v", files)
	}
	b.must(b.owner.do(func() error {
		for name, content := range files {
			if err := os.WriteFile(b.data("pg_wal", name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		return nil
	}))
	// While it runs they do not confuse it, even when its stream breaks.
	b.must(b.Follow(b.ctx(), Upstream{}))
	b.must(b.Follow(b.ctx(), *b.upstream(a)))
	b.waitStreaming(a)
	// Without tidying up, this start fails: "requested timeline 3 is not a child".
	b.stop(syscall.SIGINT)
	b.start(false)
	b.waitStreaming(a)
	a.stop(syscall.SIGINT)
	b.promoteTo(6)
}

// A standby that asked a primary which had less WAL has the history file of its timeline,
// and nothing else of it. That primary may be gone by the time the standby is started.
func TestTheHistoryOfAPrimaryThatHadLessDoesNotKeepAStandbyFromStarting(t *testing.T) {
	historyLeftBehind(t, syscall.SIGINT)
}

// One that was killed before its next restart point starts with it: it takes that timeline for its goal, replays past
// where the two parted, and names it as its ancestor.
func TestAStandbyDoesNotDescendFromAPrimaryThatHadLess(t *testing.T) {
	historyLeftBehind(t, syscall.SIGKILL)
}

// historyLeftBehind has a standby fetch the history of a primary that has less, ends it, and promotes it.
func historyLeftBehind(t *testing.T, end syscall.Signal) {
	t.Helper()
	a := primary(t, "a")
	b, c := standby(t, "b", a), standby(t, "c", a)
	c.stop(syscall.SIGINT)
	a.sql("create table t as select generate_series(1, 10000) i")
	b.waitStreaming(a)
	a.stop(syscall.SIGKILL)
	c.config(nil)
	c.start(false)
	c.promoteTo(2)
	_, err := c.EnsureSlots(c.ctx(), []string{"b"}, SlotPolicy{})
	c.must(err)
	b.must(b.Follow(b.ctx(), *b.upstream(c)))
	there := func() bool {
		return b.owner.do(func() error { _, err := os.Stat(b.data("pg_wal", historyName(2))); return err }) == nil
	}
	wait(t, "the history of timeline 2 at b", func() (bool, string) { return there(), "" })
	b.stop(end)
	c.stop(syscall.SIGKILL)
	// Without tidying up, this start fails: "requested timeline 2 is not a child", or
	// "does not contain minimum recovery point".
	b.config(nil)
	b.start(false)
	if there() {
		t.Error("the file is still there")
	}
	b.promoteTo(3)
	if lines := b.look().TimelineHistory; len(lines) != 1 || lines[0].Timeline != 1 {
		t.Errorf("timeline 3 descends from %+v, want timeline 1 alone", lines)
	}
	if got := b.sql("select count(*) from t"); got != "10000" {
		t.Errorf("%s rows are left of 10000", got)
	}
}

// What a standby leaves that was stopped while it streamed the first file of a new
// timeline: that file, shorter than the old timeline's.
func TestAFirstFileThatEndsBeforeItsTimelineBeginsDoesNotKeepAStandbyFromStarting(t *testing.T) {
	a := primary(t, "a")
	b, c := standby(t, "b", a), standby(t, "c", a)
	a.sql("create table t as select generate_series(1, 10000) i")
	b.waitStreaming(a)
	c.waitStreaming(a)
	a.stop(syscall.SIGKILL) // no checkpoint, behind which recovery would begin
	b.stop(syscall.SIGINT)
	c.promoteTo(2)
	_, err := c.EnsureSlots(c.ctx(), []string{"b"}, SlotPolicy{})
	c.must(err)
	switched := c.look().TimelineHistory[0].Switch
	file := segmentName(2, switched, 16<<20)
	b.must(b.owner.do(func() error {
		first, err := os.ReadFile(c.data("pg_wal", file))
		if err != nil {
			return err
		}
		history, err := os.ReadFile(c.data("pg_wal", historyName(2)))
		if err != nil {
			return err
		}
		const missing = 1 << 18 // before the switch
		clear(first[uint64(switched)%(16<<20)-missing:])
		return errors.Join(os.WriteFile(b.data("pg_wal", file), first, 0o600), os.WriteFile(b.data("pg_wal", historyName(2)), history, 0o600))
	}))
	b.config(b.upstream(c))
	b.start(false)
	b.waitStreaming(c)
	// A whole one is left alone, and needed: its timeline's first records are in it.
	c.sql("insert into t values (0)")
	b.waitStreaming(c)
	b.stop(syscall.SIGKILL)
	before := b.read("pg_wal/" + file)
	b.must(b.dropShortWAL())
	if b.read("pg_wal/"+file) != before {
		t.Error("a file that reaches its timeline was touched")
	}
	b.start(false)
	b.waitStreaming(c)
}

func TestACrashedOldPrimaryIsRewoundAndKeepsItsConfiguration(t *testing.T) {
	a := primary(t, "a")
	b := standby(t, "b", a)
	a.sql("create table t as select generate_series(1, 100000) i")
	b.waitStreaming(a)
	b.promoteTo(3)
	// a lives on for a moment: it diverges, and then dies without a checkpoint.
	a.sql("update t set i = -i")
	a.stop(syscall.SIGKILL)
	if state := a.look(); state.Control.State != cluster.ControlInProduction {
		t.Fatalf("a is %s", state.Control.State)
	}
	_, err := b.EnsureSlots(b.ctx(), []string{"a"}, SlotPolicy{})
	b.must(err)
	conf := a.read(confName)
	if _, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); b.Version() < 160000 && !errors.Is(err, ErrSourceNotReady) {
		t.Errorf("before the source's checkpoint: %v", err)
	}
	b.must(b.Checkpoint(b.ctx()))
	began := time.Now()
	rewound, err := a.Rewind(a.ctx(), a.source(b), Rewinding{})
	a.must(err)
	t.Logf("measured: rewind with crash recovery took %s", time.Since(began).Round(time.Millisecond))
	if !rewound {
		t.Error("a diverged server needed no rewind")
	}
	if a.read(confName) != conf {
		t.Error("the rewind changed postgresql.conf")
	}
	a.config(a.upstream(b))
	a.start(false)
	a.waitStreaming(b)
	if got := a.sql("select count(*) from t where i < 0"); got != "0" {
		t.Errorf("%s rows of the abandoned timeline survived", got)
	}
	a.stop(syscall.SIGINT)
	if rewound, err = a.Rewind(a.ctx(), a.source(b), Rewinding{}); err != nil || rewound {
		t.Errorf("a rewind that is not needed: %v, %v", rewound, err)
	}
	a.start(false)
	a.waitStreaming(b)
}

func TestACrashedStandbyThatDivergedIsRewound(t *testing.T) {
	a := primary(t, "a")
	b, c := standby(t, "b", a), standby(t, "c", a)
	// b is cut off, c gets more, b becomes primary: c has WAL that b never saw.
	b.must(b.Follow(b.ctx(), Upstream{}))
	a.sql("create table t as select generate_series(1, 10000) i")
	c.waitStreaming(a)
	a.stop(syscall.SIGKILL)
	c.stop(syscall.SIGKILL)
	b.promoteTo(2)
	b.must(b.Checkpoint(b.ctx()))
	_, err := b.EnsureSlots(b.ctx(), []string{"c"}, SlotPolicy{})
	b.must(err)
	if rewound, err := c.Rewind(c.ctx(), c.source(b), Rewinding{}); err != nil || !rewound {
		t.Fatalf("rewind: %t, %v", rewound, err)
	}
	c.config(c.upstream(b))
	c.start(false)
	c.waitStreaming(b)
}

func TestARewindFromAnotherClusterIsRefusedAndChangesNothing(t *testing.T) {
	a, b := primary(t, "a"), primary(t, "b")
	a.stop(syscall.SIGINT)
	if _, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); !errors.Is(err, ErrNeedClone) {
		t.Errorf("error is %v", err)
	}
	b.stop(syscall.SIGINT)
	if _, err := a.Rewind(a.ctx(), a.source(b), Rewinding{}); err == nil || errors.Is(err, ErrNeedClone) || errors.Is(err, ErrDamaged) {
		t.Errorf("error of an unreachable source is %v", err)
	}
	if state := a.look(); state.Data != cluster.DataValid {
		t.Errorf("directory is %s", state.Data)
	}
	a.start(true)
}

func TestACancelledCloneLeavesNothing(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t as select repeat('x', 1000) from generate_series(1, 50000)")
	b := newNode(t, "b", func(o *Options) { o.BasebackupArgs = []string{"--max-rate=1M"} })
	ctx, cancel := contextWithCancel(t)
	began := time.Now()
	err := b.Clone(ctx, b.source(a), func(int64, int64) { cancel() })
	if err == nil {
		t.Fatal("a cancelled clone succeeded")
	}
	t.Logf("measured: cancelled clone returned after %s: %v", time.Since(began).Round(time.Millisecond), err)
	if state := b.look(); state.Data != cluster.DataEmpty {
		t.Errorf("directory is %s", state.Data)
	}
	if grave, _ := b.Tombstone(); grave != nil {
		t.Errorf("tombstone %+v stays", grave)
	}
	wait(t, "the walsenders gone", func() (bool, string) {
		return len(a.look().Walsenders) == 0, ""
	})
}

func TestAnInterruptedCloneIsFoundAndDoneAgain(t *testing.T) {
	a := primary(t, "a")
	b := newNode(t, "b")
	b.settings = a.settings
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	var label string
	b.must(b.owner.do(func() (err error) { label, _, err = b.backupLabel(); return err }))
	grave := Tombstone{Kind: TombstoneClone, Label: label}
	b.must(b.bury(grave)) // as if it had been interrupted
	if state := b.look(); state.Data != cluster.DataTombstone || label == "" {
		t.Fatalf("directory is %s, its label %q", state.Data, label)
	}
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	b.config(b.upstream(a))
	b.start(false)
	b.waitStreaming(a)
	// What has run since is no remains of that clone, whatever is left of its mark.
	b.stop(syscall.SIGINT)
	b.must(b.bury(grave))
	if state := b.look(); state.Data != cluster.DataValid {
		t.Errorf("directory is %s", state.Data)
	}
	if err := b.Clone(b.ctx(), b.source(a), nil); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a clone over it: %v", err)
	}
	b.start(false)
	b.waitStreaming(a)
}

// TestAKilledCloneIsKnownByItsLabel at any moment.
func TestAKilledCloneIsKnownByItsLabel(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t as select repeat('x', 1000) from generate_series(1, 50000)")
	b := newNode(t, "b", func(o *Options) { o.BasebackupArgs = []string{"--max-rate=8M"} })
	done := make(chan error, 1)
	ctx, cancel := contextWithCancel(t)
	go func() { done <- b.Clone(ctx, b.source(a), nil) }()
	seen := map[cluster.DataDir]int{}
	wait(t, "a copy in the making", func() (bool, string) {
		n, err := b.Disk(t.Context())
		seen[n.Data]++
		return err == nil && seen[cluster.DataTombstone] > 20, fmt.Sprint(n.Data, err)
	})
	cancel()
	if err := <-done; err == nil {
		t.Error("a clone that was cancelled succeeded")
	}
	delete(seen, cluster.DataEmpty)
	if len(seen) != 1 {
		t.Errorf("looks at it said %v", seen)
	}
}

func TestAStuckStandbyIsFoundBeforeAShutdown(t *testing.T) {
	a := primary(t, "a")
	b, c := standby(t, "b", a), standby(t, "c", a)
	b.freeze(true)
	defer b.freeze(false)
	a.must(a.Checkpoint(a.ctx()))
	c.waitStreaming(a)
	ended, err := a.TerminateStuckWalsenders(a.ctx(), func(member string) time.Duration {
		if member == "b" {
			return 150 * time.Millisecond
		}
		return time.Minute // whoever lives confirms something sooner
	})
	a.must(err)
	if diff := cmp.Diff([]string{"b"}, ended); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	began := time.Now()
	a.stop(syscall.SIGINT)
	t.Logf("measured: fast stop beside a frozen standby took %s", time.Since(began).Round(time.Millisecond))
}

func TestSkippedNumbersReachTheArchive(t *testing.T) {
	a := newNode(t, "a")
	archive := a.o.DataDir + ".archive"
	a.initDB()
	a.must(a.owner.do(func() error { return os.Mkdir(archive, 0o700) }))
	a.settings.PostgreSQL.Parameters = map[string]string{"archive_mode": "on", "archive_command": "cp %p " + archive + "/%f"}
	a.config(nil)
	a.start(true)
	b := standby(t, "b", a)
	c := newNode(t, "c")
	c.must(c.Clone(c.ctx(), c.source(a), nil))
	a.stop(syscall.SIGINT)
	b.promoteTo(4)
	b.must(b.ArchiveHistory(b.ctx()))
	b.sql("create table t as select 1 i; select pg_switch_wal()") // which wakes the archiver
	wait(t, "histories in the archive", func() (bool, string) {
		var missing []string
		_ = b.owner.do(func() error {
			for tl := cluster.Timeline(2); tl <= 4; tl++ {
				if has, _ := exists(archive + "/" + historyName(tl)); !has {
					missing = append(missing, historyName(tl))
				}
			}
			return nil
		})
		return len(missing) == 0, strings.Join(missing, " ")
	})
	// A copy from timeline 1 that knows nothing but the archive finds the newest.
	c.settings = a.settings
	c.settings.PostgreSQL.RecoveryConf = map[string]string{"restore_command": "cp " + archive + "/%f %p"}
	_, err := c.WriteConfig(c.ctx(), ConfigSpec{Settings: c.settings, RestoreCommand: true})
	c.must(err)
	c.start(false)
	wait(t, "timeline 4 from the archive", func() (bool, string) {
		state := c.look()
		return state.Timeline == 4, state.Position().String()
	})
}
