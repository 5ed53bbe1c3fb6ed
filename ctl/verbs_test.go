package ctl

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

// succeed is what a healthy cluster answers.
func succeed(v cluster.View, q cluster.Request, wish *cluster.Failover) *cluster.Result {
	if wish == nil {
		return &cluster.Result{Member: q.Member, Done: true, Message: "done"}
	}
	to := wish.Member
	if to == "" {
		to = "pg2"
	}
	return &cluster.Result{Member: v.Leader.Name, Done: true, NewLeader: to}
}

func TestSwitchoverAsksShowsAndReports(t *testing.T) {
	r := newRig(t, healthy(), "", "pg3", "y")
	r.agents(t, succeed)
	if err := r.Switchover(t.Context(), SwitchoverOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("Successfully switched over to \"pg3\"\n", r.out.String()); diff != "" {
		t.Error(diff)
	}
	golden(t, "switchover.questions.txt", r.err.String())
}

func TestSwitchoverWithForceAsksNothing(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	r.agents(t, succeed)
	if err := r.Switchover(t.Context(), SwitchoverOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := r.err.String(); got != "" {
		t.Errorf("something was asked or shown: %q", got)
	}
}

func TestSwitchoverIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	cases := map[string]struct {
		keys    map[string]string
		options SwitchoverOptions
		answers []string
		want    string
	}{
		"the operator says no":           {healthy(), SwitchoverOptions{Leader: "pg1", Candidate: "pg2"}, []string{"n"}, "aborted"},
		"nobody answers":                 {healthy(), SwitchoverOptions{Leader: "pg1", Candidate: "pg2"}, nil, "--force asks nothing"},
		"another leader":                 {healthy(), SwitchoverOptions{Leader: "pg2", Candidate: "pg3"}, nil, "pg2 is not the leader of cluster batman, pg1 is"},
		"the leader itself":              {healthy(), SwitchoverOptions{Leader: "pg1", Candidate: "pg1"}, nil, "pg1 is the leader already"},
		"no such candidate":              {healthy(), SwitchoverOptions{Leader: "pg1", Candidate: "pg9"}, nil, "candidates are pg2 and pg3"},
		"a time without zone":            {healthy(), SwitchoverOptions{Leader: "pg1", Candidate: "pg2", Scheduled: "2026-12-31T23:00"}, nil, "no time with a zone"},
		"a time in the past":             {healthy(), SwitchoverOptions{Leader: "pg1", Candidate: "pg2", Scheduled: "2026-01-31T23:00:00Z"}, nil, "in the past"},
		"no leader":                      {with(healthy(), "leader", ""), SwitchoverOptions{}, nil, "has no leader to switch from"},
		"nobody to switch to":            {with(healthy(), "members/pg2", "", "members/pg3", ""), SwitchoverOptions{Leader: "pg1"}, nil, "no candidates found"},
		"scheduled in a paused cluster":  {with(healthy(), "config", `{"pause":true}`), SwitchoverOptions{Leader: "pg1", Candidate: "pg2", Scheduled: "2026-12-31T23:00:00Z"}, nil, "paused"},
		"a paused cluster":               {with(healthy(), "config", `{"pause":true}`), SwitchoverOptions{Leader: "pg1", Candidate: "pg2"}, nil, "no switchover while cluster batman is paused"},
		"a candidate that must not lead": {with(healthy(), "members/pg2", member("pg2", `"tags":{"nofailover":true}`)), SwitchoverOptions{Leader: "pg1", Candidate: "pg2"}, nil, "nofailover"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.keys, c.answers...)
			err := r.Switchover(t.Context(), c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ...%s...", err, c.want)
			}
			if got := r.get(t, "failover"); got != "" {
				t.Errorf("a wish was written: %s", got)
			}
		})
	}
}

func TestAFailedSwitchoverIsAnErrorWithTheMembersReason(t *testing.T) {
	for name, c := range map[string]struct {
		result  cluster.Result
		refused bool
		want    string
	}{
		"refused": {cluster.Result{Refused: true, Message: "pg2 is 48 MB behind"}, true, "refused: pg2 is 48 MB behind"},
		"failed":  {cluster.Result{Message: "pg2 did not confirm in time; pg1 carries on"}, false, "the switchover failed: pg2 did not confirm in time; pg1 carries on"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, healthy())
			r.Console.Force = true
			r.agents(t, func(cluster.View, cluster.Request, *cluster.Failover) *cluster.Result {
				result := c.result
				return &result
			})
			err := r.Switchover(t.Context(), SwitchoverOptions{Candidate: "pg2"})
			if err == nil || err.Error() != c.want || errors.Is(err, ErrRefused) != c.refused {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestASwitchoverNobodyAnswersSaysThatItMayStillHappen(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Switchover(ctx, SwitchoverOptions{}) }()
	waitFor(t, func() bool { return r.get(t, "failover") != "" })
	cancel() // the time is over once the wish is there: before, another thing would be said
	err := <-done
	if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "may still be carried out") {
		t.Errorf("got %v", err)
	}
}

func TestASecondWishIsRefusedWhileOneStands(t *testing.T) {
	r := newRig(t, with(healthy(), "failover", `{"leader":"pg1","member":"pg2"}`))
	r.Console.Force = true
	err := r.Switchover(t.Context(), SwitchoverOptions{})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "from pg1 to pg2 is already asked for") {
		t.Errorf("got %v", err)
	}
}

func TestAScheduledSwitchoverIsAcceptedWhenRecordedAndCanBeFlushed(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	if err := r.Switchover(t.Context(), SwitchoverOptions{Candidate: "pg2", Scheduled: "2026-12-31T23:00+01:00"}); err != nil {
		t.Fatal(err)
	}
	if got := r.get(t, "failover"); !strings.Contains(got, `"scheduled_at":"2026-12-31T23:00:00+01:00"`) {
		t.Errorf("the wish reads %s", got)
	}
	if err := r.Flush(t.Context(), "switchover", Selection{}); err != nil {
		t.Fatal(err)
	}
	if got := r.get(t, "failover"); got != "{}" {
		t.Errorf("after flush the wish reads %s", got)
	}
	if err := r.Flush(t.Context(), "switchover", Selection{}); !errors.Is(err, ErrRefused) {
		t.Errorf("flushing nothing: %v", err)
	}
}

func TestSwitchoverUnderAPatroniLeaderWatchesTheLeaderKey(t *testing.T) {
	patroni := `{"conn_url":"postgres://10.0.0.1/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"primary","version":"4.1.4"}`
	r := newRig(t, with(healthy(), "members/pg1", patroni))
	r.Console.Force = true
	done := make(chan error, 1)
	go func() { done <- r.Switchover(t.Context(), SwitchoverOptions{Candidate: "pg2"}) }()
	waitFor(t, func() bool { return strings.Contains(r.get(t, "failover"), "pg2") })
	r.put(t, "leader", "pg2")
	r.put(t, "members/pg2", patroni) // as a primary
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("Successfully switched over to \"pg2\"\n", r.out.String()); diff != "" {
		t.Error(diff)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatal("the condition never held")
		}
		_ = testClock{}.Wait(t.Context(), 0)
	}
}

func TestFailoverNeedsANameAndVouchesForTheOldPrimary(t *testing.T) {
	r := newRig(t, with(healthy(), "leader", ""))
	r.Console.Force = true
	if err := r.Failover(t.Context(), FailoverOptions{}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--candidate") {
		t.Errorf("without a candidate: %v", err)
	}
	asked := newRig(t, with(healthy(), "leader", ""), "")
	if err := asked.Failover(t.Context(), FailoverOptions{}); err == nil || strings.Contains(asked.err.String(), "best") {
		t.Errorf("asked %q, which promises what is refused: %v", asked.err.String(), err)
	}
	paused := newRig(t, with(healthy(), "leader", "", "config", `{"pause":true}`))
	paused.Console.Force = true
	if err := paused.Failover(t.Context(), FailoverOptions{Candidate: "pg2"}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "resume") || paused.get(t, "failover") != "" {
		t.Errorf("in a pause, where nobody answers: %v", err)
	}
	forced := make(chan bool, 1)
	r.agents(t, func(_ cluster.View, _ cluster.Request, wish *cluster.Failover) *cluster.Result {
		if wish == nil {
			return nil
		}
		forced <- wish.Force
		return &cluster.Result{Done: true, NewLeader: "pg2"}
	})
	if err := r.Failover(t.Context(), FailoverOptions{Candidate: "pg2"}); err != nil {
		t.Fatal(err)
	}
	if !<-forced {
		t.Error("the wish does not say that the operator vouches for the old primary")
	}
	if diff := cmp.Diff("Successfully failed over to \"pg2\"\n", r.out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFailoverWarnsOfWhatIsLost(t *testing.T) {
	r := newRig(t, healthy(), "n")
	err := r.Failover(t.Context(), FailoverOptions{Candidate: "pg3"})
	if !errors.Is(err, ErrAborted) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(r.err.String(), "It is 16 MB behind") {
		t.Errorf("the question does not say what is lost: %s", r.err.String())
	}
}

func TestRestartGoesThroughTheStandbysFirst(t *testing.T) {
	r := newRig(t, healthy(), "y")
	var order []string
	r.agents(t, func(v cluster.View, q cluster.Request, wish *cluster.Failover) *cluster.Result {
		order = append(order, q.Member)
		return succeed(v, q, wish)
	})
	if err := r.Restart(t.Context(), RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	want := "Success: restart for member pg2\nSuccess: restart for member pg3\nSuccess: restart for member pg1\n"
	if diff := cmp.Diff(want, r.out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNoRestartIsScheduledInAPause(t *testing.T) {
	r := newRig(t, with(healthy(), "config", `{"pause":true}`), "y")
	err := r.Restart(t.Context(), RestartOptions{Scheduled: "2026-12-31T23:00:00Z"})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no restart") {
		t.Errorf("got %v", err)
	}
}

func TestARestartThatFailsKeepsTheOthersRunning(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	r.agents(t, func(_ cluster.View, q cluster.Request, _ *cluster.Failover) *cluster.Result {
		return &cluster.Result{Member: q.Member, Done: q.Member == "pg2", Message: "the server did not start: disk full"}
	})
	err := r.Restart(t.Context(), RestartOptions{})
	want := "restart on member pg3: the server did not start: disk full; not tried: pg1"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSelectionsThatMatchNobodyAreRefused(t *testing.T) {
	for name, s := range map[string]Selection{
		"no such member": {Members: []string{"pg9"}},
		"no such role":   {Role: "standby-leader"},
		"none pending":   {Pending: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, healthy())
			r.Console.Force = true
			if err := r.Restart(t.Context(), RestartOptions{Selection: s}); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestReinitRefusesTheLeader(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	err := r.Reinit(t.Context(), ReinitOptions{Selection: Selection{Members: []string{"pg1"}}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "switch over first") {
		t.Errorf("got %v", err)
	}
}

func TestReinitWithWaitReturnsWhenTheMemberStreamsAgain(t *testing.T) {
	r := newRig(t, healthy(), "pg2", "y")
	said := &talk{}
	r.Console.Progress, r.Console.Err = true, said
	r.agents(t, func(_ cluster.View, q cluster.Request, _ *cluster.Failover) *cluster.Result {
		r.put(t, "members/pg2", member("pg2", `"role":"replica","state":"creating replica","pgkeeper":{"version":"1","node":"x","progress":"clone 43%"}`))
		return &cluster.Result{Member: q.Member, Accepted: true, Message: "reinitialize started"}
	})
	done := make(chan error, 1)
	go func() { done <- r.Reinit(t.Context(), ReinitOptions{Wait: true}) }()
	waitFor(t, func() bool { return strings.Contains(said.String(), "pg2: creating replica, clone 43%") })
	select {
	case err := <-done:
		t.Fatalf("returned while the copy was being made: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	r.put(t, "members/pg2", member("pg2", `"role":"replica","replication_state":"streaming"`))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// talk is what was said so far, also while more is being said.
type talk struct {
	mu   sync.Mutex
	text strings.Builder
}

func (k *talk) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(p)
}

func (k *talk) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.String()
}

func TestARequestForAPatroniMemberNamesTheWay(t *testing.T) {
	patroni := `{"conn_url":"postgres://10.0.0.2/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"running","role":"replica","version":"4.1.4"}`
	r := newRig(t, with(healthy(), "members/pg2", patroni))
	r.Console.Force = true
	err := r.Reload(t.Context(), Selection{Members: []string{"pg2"}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--api http://10.0.0.2:8008") {
		t.Errorf("got %v", err)
	}
}

func TestPauseWaitsUntilEveryMemberHasSeenIt(t *testing.T) {
	r := newRig(t, healthy())
	done := make(chan error, 1)
	go func() { done <- r.Pause(t.Context(), true, true) }()
	waitFor(t, func() bool { return strings.Contains(r.get(t, "config"), `"pause":true`) })
	for _, name := range []string{"pg1", "pg2", "pg3"} {
		select {
		case err := <-done:
			t.Fatalf("returned before %s had seen it: %v", name, err)
		default:
		}
		r.put(t, "members/"+name, member(name, `"pause":true`))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.Pause(t.Context(), true, false); !errors.Is(err, ErrRefused) {
		t.Errorf("pausing a paused cluster: %v", err)
	}
	if err := r.Pause(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	if got := r.get(t, "config"); strings.Contains(got, "pause") {
		t.Errorf("after resume the configuration reads %s", got)
	}
}

func TestEditConfigShowsTheDifferenceAndWrites(t *testing.T) {
	r := newRig(t, healthy(), "y")
	if err := r.EditConfig(t.Context(), Edit{Set: []string{"ttl=20", "loop_wait=null"}, Parameters: []string{"max_connections=200"}}); err != nil {
		t.Fatal(err)
	}
	want := "-loop_wait: 2\n postgresql:\n   parameters:\n-    max_connections: 100\n+    max_connections: 200\n retry_timeout: 3\n-ttl: 10\n+ttl: 20\nConfiguration changed\n"
	if diff := cmp.Diff(want, r.out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(`{"postgresql":{"parameters":{"max_connections":200}},"retry_timeout":3,"ttl":20}`, r.get(t, "config")); diff != "" {
		t.Error(diff)
	}
}

func TestEditConfigFromFilesAndEditor(t *testing.T) {
	cases := map[string]struct {
		edit Edit
		want string
	}{
		"a patch":       {Edit{Apply: []byte("ttl: null\npostgresql:\n  parameters:\n    work_mem: 8MB\n")}, `{"loop_wait":2,"postgresql":{"parameters":{"max_connections":100,"work_mem":"8MB"}},"retry_timeout":3}`},
		"a replacement": {Edit{Replace: []byte("ttl: 30\n")}, `{"ttl":30}`},
		"the editor": {Edit{Editor: func(text string) (string, error) {
			return strings.Replace(text, "ttl: 10", "ttl: 11", 1), nil
		}}, `{"loop_wait":2,"postgresql":{"parameters":{"max_connections":100}},"retry_timeout":3,"ttl":11}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, healthy())
			r.Console.Force = true
			if err := r.EditConfig(t.Context(), c.edit); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, r.get(t, "config")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEditConfigRefusesWhatAgentsWouldRefuse(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	err := r.EditConfig(t.Context(), Edit{Set: []string{"ttl=soon"}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "ttl") {
		t.Errorf("got %v", err)
	}
	if got := r.get(t, "config"); !strings.Contains(got, `"ttl":10`) {
		t.Errorf("the configuration was changed: %s", got)
	}
}

// TestEditConfigSaysWhatAgentsWillMakeOfTheChange: a key that nobody knows is refused
// unless it is forced, what agents correct is said, and what stood there already is not.
func TestEditConfigSaysWhatAgentsWillMakeOfTheChange(t *testing.T) {
	patronis := "synchronous_mode: quorum\nmaster_start_timeout: 10\nprimary_race_backoff: 1\nslots: {mine: {type: logical, database: app, plugin: pgoutput}}\n" +
		"ignore_slots: [{name: theirs}]\npostgresql: {parameters: {my_extension.limit: 1}, recovery_conf: {restore_command: x}, pg_hba: [local all all trust], callbacks: {on_start: x}}\n"
	for name, c := range map[string]struct {
		edit          Edit
		force         bool
		refused, said string
	}{
		"a misspelt key":             {Edit{Set: []string{"synchonous_mode=on"}}, false, "did you mean synchronous_mode? (--force", ""},
		"a misspelt key below":       {Edit{Set: []string{"postgresql.use_slotz=on"}}, false, "postgresql.use_slotz: is not a known key", ""},
		"a misspelt key, forced":     {Edit{Set: []string{"synchonous_mode=on"}}, true, "", "warning: dynamic configuration: synchonous_mode: is not a known key; did you mean synchronous_mode?\n"},
		"a value that is corrected":  {Edit{Set: []string{"retry_timeout=9"}, Quiet: true}, false, "", "so 4s is used"},
		"nothing new":                {Edit{Set: []string{"maximum_lag_on_failover=1"}}, false, "", ""},
		"the stray key is taken out": {Edit{Set: []string{"stray=null"}}, false, "", ""},
		"Patroni's own and a user's": {Edit{Apply: []byte(patronis)}, false, "", "primary_race_backoff"},
	} {
		t.Run(name, func(t *testing.T) {
			stored := `{"loop_wait":2,"retry_timeout":3,"stray":1,"ttl":10}`
			r := newRig(t, with(healthy(), "config", stored), "y")
			r.Console.Force = c.force
			err := r.EditConfig(t.Context(), c.edit)
			if refused := c.refused != ""; refused != (err != nil) || refused != errors.Is(err, ErrRefused) || refused != (r.get(t, "config") == stored) {
				t.Fatalf("got %v, stored %s", err, r.get(t, "config"))
			}
			if err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("got %v, want ...%s...", err, c.refused)
			}
			said := strings.TrimPrefix(r.err.String(), "Apply these changes? [y/N]: ")
			if !strings.Contains(said, c.said) || c.said == "" && said != "" || strings.Contains(said, "stray") {
				t.Errorf("said %q, want ...%s...", said, c.said)
			}
		})
	}
}

func TestEditConfigDoesNotOverwriteAnotherWriter(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Force = true
	err := r.EditConfig(t.Context(), Edit{Editor: func(text string) (string, error) {
		r.put(t, "config", `{"ttl":42}`)
		return text + "x: 1\n", nil
	}})
	if !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	if got := r.get(t, "config"); got != `{"ttl":42}` {
		t.Errorf("the other writer's configuration became %s", got)
	}
}

func TestEditConfigWithNothingToChangeSaysSo(t *testing.T) {
	r := newRig(t, healthy())
	if err := r.EditConfig(t.Context(), Edit{Set: []string{"ttl=10"}}); err != nil {
		t.Fatal(err)
	}
	if got := r.out.String(); got != "Not changed\n" {
		t.Errorf("got %q", got)
	}
}

func TestAMissingClusterNamesThoseThereAre(t *testing.T) {
	r := newRig(t, nil)
	r.put(t, "/service/alpha/initialize", "1")
	r.put(t, "/service/beta/members/pg1", "{}")
	r.put(t, "/service/beta/config", "{}")
	r.put(t, "/other/gamma/config", "{}")
	err := r.List(t.Context(), ListOptions{})
	if !errors.Is(err, ErrNoCluster) || !strings.HasSuffix(err.Error(), "batman; there is alpha and beta") {
		t.Errorf("got %v", err)
	}
}

func TestAStoreThatDoesNotAnswerIsNamed(t *testing.T) {
	r := newRig(t, healthy())
	r.kv.FailNext(memory.CallRange, memory.Refuse)
	err := r.List(t.Context(), ListOptions{})
	if !errors.Is(err, dcs.ErrUnavailable) || !strings.Contains(err.Error(), "etcd at 127.0.0.1:2379 does not answer") {
		t.Errorf("got %v", err)
	}
}

func TestVersionsShowsWhoDoesNotAnswer(t *testing.T) {
	r := newRig(t, healthy())
	err := r.Versions(t.Context(), func(context.Context, []Member) map[string]Status {
		ours := Status{ServerVersion: 150004}
		ours.Keeper.Version = "0.1.0"
		theirs := Status{ServerVersion: 90624}
		theirs.Patroni.Version = "4.1.4"
		return map[string]Status{"pg1": ours, "pg2": theirs}
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "versions.txt", r.out.String())
}
