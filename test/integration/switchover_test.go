//go:build integration

package integration

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestSwitchoverToANamedCandidateAndBackToTheBest(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	first := b.Healthy(10 * time.Second)
	second := b.Others(first)[1]
	o := b.Observe()

	o.Fault()
	b.Ctl("switchover", "--candidate", second.Name, "--force")
	if primary := b.Healthy(15 * time.Second); primary != second {
		t.Errorf("the primary is %s, want %s", primary.Name, second.Name)
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)

	o.Fault()
	b.Ctl("switchover", "--primary", second.Name, "--force")
	primary := b.Healthy(15 * time.Second)
	if primary == second {
		t.Errorf("the primary is %s still", primary.Name)
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	for _, n := range b.Nodes {
		if starts := count(n.Log(), "job started", "rewind") + count(n.Log(), "job started", "clone"); n != first && starts > 1 {
			t.Errorf("%s was rewound or cloned %d times: a planned switchover needs neither", n.Name, starts)
		}
	}
	o.End(primary, 0)
}

// The last segment of the old primary goes to the archive while the new one writes: no
// client waits for archive_command.
func TestASwitchoverDoesNotWaitForTheArchiver(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL, Parameters: map[string]any{"archive_mode": "on", "archive_command": "sleep 2"}})
	old := b.Healthy(10 * time.Second)
	candidate := b.Others(old)[0]
	b.WaitText(old, "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'", "0") // what is archived last is the shutdown's
	o := b.Observe()
	before := len(old.Log())
	o.Fault()
	b.Ctl("switchover", "--candidate", candidate.Name, "--force")
	if primary := b.Healthy(15 * time.Second); primary != candidate {
		t.Errorf("the primary is %s, want %s", primary.Name, candidate.Name)
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	o.End(candidate, 0)
	log := old.Log()[before:]
	given, exited := strings.Index(log, `msg="lease given"`), strings.Index(log, `msg="server exited"`)
	if given < 0 || exited < given {
		t.Errorf("want the lease given while the server still archives:\n%s", log)
	}
}

func TestAScheduledSwitchoverHappensAtItsTime(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	old := b.Healthy(10 * time.Second)
	candidate := b.Others(old)[1]
	o := b.Observe()
	o.Fault()
	at := time.Now().Add(20 * time.Second).Truncate(time.Second) // time for two commands before it
	b.Ctl("switchover", "--candidate", candidate.Name, "--scheduled", at.Format(time.RFC3339), "--force")
	if r := b.Ctl("list"); count(r.Out+r.Err, "witchover", candidate.Name) == 0 {
		t.Errorf("list does not mention the scheduled switchover:\n%s", r.Out)
	}
	b.Must(candidate.Healthy(t.Context(), 90*time.Second, "/primary"))
	if early := time.Until(at); early > 0 {
		t.Errorf("it happened %v early", early)
	}
	if primary := b.Healthy(15 * time.Second); primary != candidate {
		t.Errorf("the primary is %s, want %s", primary.Name, candidate.Name)
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	o.End(candidate, 0)
}

func TestAScheduledSwitchoverCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2})
	primary := b.Healthy(10 * time.Second)
	b.Ctl("switchover", "--scheduled", time.Now().Add(time.Hour).Format(time.RFC3339), "--force")
	b.Ctl("flush", testbed.Scope, "switchover", "--force")
	b.Refused("no switchover", "flush", testbed.Scope, "switchover", "--force")
	if again := b.Healthy(5 * time.Second); again != primary {
		t.Errorf("the primary is %s, want %s", again.Name, primary.Name)
	}
}

func TestAnImpossibleSwitchoverIsRefusedInOneLineAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Configure: func(name string, config map[string]any) {
		if name == "pg3" {
			config["tags"] = map[string]any{"nofailover": true}
		}
	}})
	primary := b.Healthy(10 * time.Second)
	other := "pg1"
	if primary.Name == other {
		other = "pg2"
	}
	o := b.Observe()
	o.Fault()
	b.Refused("no member pg9", "switchover", "--candidate", "pg9", "--force")
	b.Refused("leader already", "switchover", "--candidate", primary.Name, "--force")
	b.Refused("nofailover", "switchover", "--candidate", "pg3", "--force")
	b.Refused("is not the leader", "switchover", "--primary", other, "--force")
	b.Refused("in the past", "switchover", "--scheduled", "2020-01-01T00:00:00Z", "--force")
	b.Refused("no time with a zone", "switchover", "--scheduled", "tomorrow", "--force")
	b.Must(b.Node(other).KillAll())
	b.Refused("", "switchover", "--candidate", other, "--force")
	if again := b.Healthy(10 * time.Second); again != primary {
		t.Errorf("the primary is %s, want %s", again.Name, primary.Name)
	}
	o.NothingFailed()
	o.End(primary, 0)
}

func TestASwitchoverWhoseCandidateDiesIsRolledBackOrCompleted(t *testing.T) {
	switchover := func(phase string) func(testbed.Change) bool {
		return func(c testbed.Change) bool { return c.Key == "pgkeeper/switchover" && strings.Contains(c.Value, phase) }
	}
	for name, moment := range map[string]func(testbed.Change) bool{
		"while it is prepared":    switchover("preparing"),
		"while the old one stops": switchover("stopping"),
		"when the key is its own": func(c testbed.Change) bool { return c.Key == "pgkeeper/handover" && c.Value != "" },
		"when it has accepted it": func(c testbed.Change) bool { return c.Key == "pgkeeper/timelines" && c.Value != "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bedtest.New(t, testbed.Options{TTL: shortTTL})
			old := b.Healthy(10 * time.Second)
			candidate := b.Others(old)[0]
			o := b.Observe()
			changes, err := b.WatchKeys(t.Context())
			b.Must(err)
			command := make(chan testbed.Result, 1)
			go func() {
				r, _ := b.Cluster.Ctl(t.Context(), "switchover", "--candidate", candidate.Name, "--force") // ends with the test
				command <- r
			}()
			awaitChange(t, changes, 15*time.Second, name, moment)
			o.Fault()
			b.Must(candidate.KillAll())
			primary := b.Healthy(20 * time.Second)
			o.Resumed(10 * time.Second)
			o.GapAtMost(afterLease + shortTTL) // a roll-back after the end of one may meet another
			t.Logf("%s led, %s was to lead, %s leads", old.Name, candidate.Name, primary.Name)
			if primary == old && name == "while it is prepared" && len(o.Writer.Failures()) == 0 { // rolled back: the command says so
				select {
				case r := <-command:
					if r.Code != 1 || !strings.Contains(r.Err, "rolled back") {
						t.Errorf("want exit code 1 and why it was rolled back: %v", r)
					}
				case <-time.After(time.Minute):
					t.Error("the command got no answer although the switchover was rolled back")
				}
			}
			b.Must(candidate.Start())
			primary = b.Healthy(30 * time.Second)
			o.End(primary, loseAtMost)
		})
	}
}

// TestAFullConnectionHoldsNoSwitchover: a standby that reads nothing, with more WAL on its way
// than its connection takes. Its walsender, told to end, hangs in saying so.
func TestAFullConnectionHoldsNoSwitchover(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	old := b.Healthy(10 * time.Second)
	candidate, deaf := b.Others(old)[0], b.Others(old)[1]
	receiver, err := strconv.Atoi(b.Text(deaf, "select pid from pg_stat_wal_receiver"))
	b.Must(err)
	o := b.Observe()
	b.Must(deaf.SignalPID(receiver, unix.SIGSTOP))
	b.Must(old.Exec(t.Context(), "create table big as select repeat('x', 500) from generate_series(1, 60000)"))
	o.Fault()
	b.Ctl("switchover", "--candidate", candidate.Name, "--force")
	o.Interrupted(5 * time.Second)
	o.GapAtMost(5 * time.Second)
	t.Logf("writes went on after %s", o.Gap())
	b.Must(deaf.SignalPID(receiver, unix.SIGCONT))
	if primary := b.Healthy(40 * time.Second); primary != candidate {
		t.Errorf("the primary is %s, want %s", primary.Name, candidate.Name)
	}
	o.End(candidate, 0)
}
