//go:build integration

package postgres

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestPostgreSQLItselfRefusesBadParametersBeforeAnythingIsWritten(t *testing.T) {
	n := primary(t, "a")
	before := n.read(confName)
	for name, value := range map[string]string{
		"no_such_parameter": "1", "shared_buffers": "many", "wal_sender_timeout": "-3", "log_statement": "some", "zero_damaged_pages": "off",
	} {
		settings := n.settings
		settings.PostgreSQL.Parameters = map[string]string{name: value}
		_, err := n.WriteConfig(n.ctx(), ConfigSpec{Settings: settings})
		if name == "zero_damaged_pages" { // a developer's parameter, but a real one
			n.must(err)
			n.config(nil)
			continue
		}
		if !errors.Is(err, ErrParameter) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s = %s: %v", name, value, err)
		}
		t.Log(err)
		if n.read(confName) != before {
			t.Errorf("%s was written", name)
		}
	}
	awkward := "it's \\ 100% \"quoted\""
	n.settings.PostgreSQL.Parameters = map[string]string{"app.note": awkward, "log_line_prefix": "%m 'x' "}
	if change := n.config(nil); change != (Change{Reload: true}) {
		t.Errorf("change is %+v", change)
	}
	n.must(n.Reload(n.ctx()))
	wait(t, "the parameter", func() (bool, string) {
		got := n.sql("select current_setting('app.note', true)")
		return got == awkward, got
	})
	if change := n.config(nil); change != (Change{}) {
		t.Errorf("the same again changes %+v", change)
	}
}

func TestParametersThatWaitForARestartAreShown(t *testing.T) {
	n := primary(t, "a")
	n.settings.PostgreSQL.Parameters = map[string]string{"max_connections": "120", "shared_buffers": "64MB"}
	if change := n.config(nil); change != (Change{Reload: true, Restart: true}) {
		t.Errorf("change is %+v", change)
	}
	n.must(n.Reload(n.ctx()))
	want := map[string]cluster.PendingReason{
		"max_connections": {Old: "100", New: "120"}, "shared_buffers": {Old: "16384", New: "64MB"},
	}
	wait(t, "pending restart", func() (bool, string) {
		diff := cmp.Diff(want, n.look().PendingRestart)
		return diff == "", diff
	})
	n.stop(syscall.SIGINT)
	n.start(true)
	if pending := n.look().PendingRestart; len(pending) != 0 {
		t.Errorf("after the restart %v wait", pending)
	}
}

func TestAStandbyStartsWithThePrimarysLargerSettings(t *testing.T) {
	a := tuned(t, "a", map[string]string{"max_connections": "150"})
	b := newNode(t, "b")
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	b.config(b.upstream(a)) // with its own smaller settings
	b.start(false)
	b.waitStreaming(a)
	if got := b.sql("show max_connections"); got != "150" {
		t.Errorf("max_connections is %s", got)
	}
}

// Debian's configuration names the directory, and a copy of a primary has its primary's.
func TestNoDirectoryIsServedButOurs(t *testing.T) {
	a := primary(t, "a")
	b := newNode(t, "b")
	b.must(b.Clone(b.ctx(), b.source(a), nil))
	b.must(b.owner.do(func() error {
		return writeFile(b.data(baseName), []byte("data_directory = '"+a.o.DataDir+"'\n"), 0o600)
	}))
	b.config(b.upstream(a))
	a.stop(syscall.SIGINT)
	b.start(false)
	if found, err := exists(a.data("postmaster.pid")); err != nil || found {
		t.Errorf("the server of %s runs (%v)", a.o.DataDir, err)
	}
	b.stop(syscall.SIGQUIT)
	a.start(true)
	b.start(false)
	b.waitStreaming(a)
}

func TestSlotsAreMadeAndDroppedByPolicy(t *testing.T) {
	n := primary(t, "a")
	changes, err := n.EnsureSlots(n.ctx(), []string{"b", "c"}, SlotPolicy{})
	n.must(err)
	if diff := cmp.Diff(SlotChanges{Made: []string{"b", "c"}}, changes); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	changes, err = n.EnsureSlots(n.ctx(), []string{"c"}, SlotPolicy{})
	n.must(err)
	if diff := cmp.Diff(SlotChanges{}, changes); diff != "" {
		t.Errorf("without a policy nothing is dropped (-want +got):\n%s", diff)
	}
	changes, err = n.EnsureSlots(n.ctx(), []string{"c"}, SlotPolicy{Drop: func(cluster.Slot) bool { return true }})
	n.must(err)
	if diff := cmp.Diff(SlotChanges{Dropped: []string{"b"}}, changes); diff != "" {
		t.Errorf("with a policy (-want +got):\n%s", diff)
	}
	n.must(n.DropSlot(n.ctx(), "never_there"))
	facts, err := n.Preflight(n.ctx())
	n.must(err)
	if diff := cmp.Diff(Preflight{}, facts); diff != "" {
		t.Errorf("preflight (-want +got):\n%s", diff)
	}
}

func TestTheServersLastWordsSayWhyItDidNotStart(t *testing.T) {
	a := primary(t, "a")
	b := newNode(t, "b", func(o *Options) { o.Listen = a.o.Listen })
	b.initDB()
	b.config(nil)
	spec, err := b.StartSpec(true, b.settings)
	b.must(err)
	b.spawn(spec)
	<-b.exited
	b.cmd = nil
	if err := b.StartFailure(spec); !errors.Is(err, ErrPortInUse) {
		t.Errorf("last words: %v", err)
	}
	if _, err := b.StartSpec(false, b.settings); !errors.Is(err, ErrStandbySignal) {
		t.Errorf("a standby's start without standby.signal: %v", err)
	}
}

func TestFastLooksAreFast(t *testing.T) {
	a := primary(t, "a")
	b := standby(t, "b", a)
	for name, ask := range map[string]func() error{
		"LookFast":        func() error { _, err := b.LookFast(b.ctx()); return err },
		"LookProgress":    func() error { _, err := b.LookProgress(b.ctx()); return err },
		"Look of standby": func() error { _, err := b.Look(b.ctx(), true, b.pid()); return err },
		"Look of primary": func() error { _, err := a.Look(a.ctx(), true, a.pid()); return err },
		"Disk":            func() error { _, err := a.Disk(a.ctx()); return err },
	} {
		a.must(ask())
		const rounds = 200
		began := time.Now()
		for range rounds {
			a.must(ask())
		}
		t.Logf("measured: %s takes %s", name, (time.Since(began) / rounds).Round(time.Microsecond))
	}
}

// While a cluster changes from lease-gated commits to a synchronous mode and back, one of
// the two is in force at every moment.
func TestTheGateGivesWayToSynchronousStandbysAndTakesTheirPlaceAgain(t *testing.T) {
	const gate, standbys = "pgkeeper_gate_1", `ANY 1 ("b")`
	n := primary(t, "a")
	configure := func(gate string) {
		t.Helper()
		_, err := n.WriteConfig(n.ctx(), ConfigSpec{Settings: n.settings, Gate: gate})
		n.must(err)
		n.must(n.Reload(n.ctx()))
	}
	sync := func(names, want string) {
		t.Helper()
		_, err := n.SetSync(n.ctx(), names)
		n.must(err)
		if got := n.sql("show synchronous_standby_names"); got != want {
			t.Errorf("with %q set commits wait for %q, want %q", names, got, want)
		}
	}
	configure(gate)
	wait(t, "the gate", func() (bool, string) {
		got := n.sql("show synchronous_standby_names")
		return got == gate, got
	})
	sync("", gate)
	sync(standbys, standbys)
	configure("")
	sync(standbys, standbys)
	configure(gate)
	sync(standbys, standbys)
	n.must(n.WriteGate("pgkeeper_gate_2"))
	sync("", "pgkeeper_gate_2")
}

// The file says that commits wait for nobody, and the server was never told, since the
// reload failed: that is not taken for in force the next time.
func TestNamesThatAServerWasNotToldAreNotTakenForInForce(t *testing.T) {
	const standbys = `ANY 1 ("b")`
	n := primary(t, "a")
	_, err := n.SetSync(n.ctx(), standbys)
	n.must(err)
	n.must(n.act.acquire(n.ctx())) // somebody else has its connection
	_, err = n.SetSync(limit(t, 2*time.Second), "")
	if n.act.release(); err == nil {
		t.Fatal("told without a connection")
	}
	if file, shown := n.read(syncName), n.sql("show synchronous_standby_names"); file != "" || shown != standbys {
		t.Fatalf("%s says %q, and commits wait for %q", syncName, file, shown)
	}
	_, err = n.SetSync(n.ctx(), "")
	n.must(err)
	if shown := n.sql("show synchronous_standby_names"); shown != "" {
		t.Errorf("commits wait for %q", shown)
	}
}

// A standby that is about to be promoted, and has been told ahead whom its commits will
// wait for, is not told again: that takes a reload, which a switchover's clients wait for.
func TestAStandbyThatWasToldItsSynchronousStandbysIsNotToldAgain(t *testing.T) {
	const standbys = `ANY 1 ("a")`
	a := primary(t, "a")
	b := standby(t, "b", a)
	loaded := func(n *node) string { return n.sql("select pg_conf_load_time()::text") }
	set := func(n *node, names, want string) {
		t.Helper()
		_, err := n.SetSync(n.ctx(), names)
		n.must(err)
		if got := n.sql("show synchronous_standby_names"); got != want {
			t.Errorf("with %q set commits wait for %q, want %q", names, got, want)
		}
	}
	if got := b.read(syncName); got != "" { // there, or every process of the server says that it is missing
		t.Errorf("%s begins with %q", syncName, got)
	}
	set(b, standbys, standbys)
	before := loaded(b)
	set(b, standbys, standbys)
	if after := loaded(b); after != before {
		t.Errorf("the standby has read its configuration again, at %s", after)
	}

	// What the file says and the server was never told is no help.
	if _, err := b.writeSync(b.ctx(), `ANY 1 ("c")`); err != nil {
		t.Fatal(err)
	}
	set(b, `ANY 1 ("c")`, `ANY 1 ("c")`)
	set(b, "", "")

	// A primary is told: a walsender may go by older names than a new connection shows.
	set(a, `ANY 1 ("b")`, `ANY 1 ("b")`)
	before = loaded(a)
	set(a, `ANY 1 ("b")`, `ANY 1 ("b")`)
	if after := loaded(a); after == before {
		t.Error("the primary was not told again")
	}
}

func TestTheLevelThatCommitsWaitForIsSeen(t *testing.T) {
	a := tuned(t, "a", map[string]string{"synchronous_commit": "remote_apply"})
	a.WatchSyncCommit(a.ctx(), true)
	if got := a.look().SyncLevel; got != "remote_apply" {
		t.Errorf("it is %q", got)
	}
}
