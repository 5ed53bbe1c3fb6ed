//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// lostOf reads what `history --lost` says of one member.
func lostOf(b *bedtest.Bed, member string, r testbed.Result) []cluster.Lost {
	b.T().Helper()
	var all, found []cluster.Lost
	if err := json.Unmarshal([]byte(r.Out), &all); err != nil || r.Code != 0 {
		b.T().Fatalf("history --lost: %v\n%s", err, r)
	}
	for _, l := range all {
		if l.Member == member {
			found = append(found, l)
		}
	}
	return found
}

func TestWhatAFailoverLostIsCountedWhenTheOldPrimaryRejoins(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Parameters: map[string]any{"autovacuum": "off"}})
	old := b.Healthy(10 * time.Second)
	b.Must(old.Exec(t.Context(), "create table important (i int, what text)"))
	b.Must(old.Exec(t.Context(), "insert into important values (1, 'everybody has it')"))
	for _, n := range b.Others(old) {
		b.WaitText(n, "select count(*) from important where i = 1", "1")
	}

	// Nobody receives what is committed from here on, and then its primary dies.
	for _, n := range b.Others(old) {
		b.Must(n.KillAll())
	}
	for range 5 {
		b.Must(old.Exec(t.Context(), "insert into important values (2, 'a secret'), (3, 'another')"))
	}
	b.Must(old.Exec(t.Context(), "update important set i = 0 where i = 1"))
	b.Must(old.KillAll())
	for _, n := range b.Others(old) {
		b.Must(n.Start())
	}
	b.Primary(30*time.Second, old)
	b.Must(old.Start())
	b.Healthy(40 * time.Second)

	b.Wait(10*time.Second, "the log to tell once what was lost", func(ctx) string {
		if count(old.Log(), "abandoned wal kept", "transactions=6", "public.important") != 1 {
			return strings.Join(linesWith(old.Log(), "wal"), "")
		}
		return ""
	})
	if asides, _ := filepath.Glob(old.DataDir() + ".old-*"); len(asides) != 0 && count(old.Log(), "action=clone") == 0 {
		t.Logf("the old directory was shared: %v", asides)
	}
	var lost []cluster.Lost
	b.Wait(10*time.Second, "history to have it", func(ctx) string { // each member tells of its own
		if lost = lostOf(b, old.Name, b.Ctl("history", "--lost", "-o", "json")); len(lost) == 0 {
			return "it has nothing"
		}
		return ""
	})
	if len(lost) != 1 || lost[0].Transactions != 6 || lost[0].By != "rewind" || lost[0].Note != "" || len(lost[0].Files) == 0 || lost[0].From == 0 || lost[0].To <= lost[0].From {
		t.Fatalf("lost: %+v", lost)
	}
	if len(lost[0].Tables) != 1 || lost[0].Tables[0].String() != "postgres:public.important" || lost[0].Tables[0].Inserted != 10 || lost[0].Tables[0].Updated != 1 {
		t.Errorf("tables: %+v", lost[0].Tables)
	}
	if first, err := time.Parse(time.RFC3339Nano, lost[0].FirstCommit); err != nil || time.Since(first) > 10*time.Minute {
		t.Errorf("first commit: %q", lost[0].FirstCommit)
	}
	r := b.Ctl("history", "--lost")
	if count(r.Out, old.Name, "postgres:public.important +10 ~1", " 6 ") != 1 {
		t.Errorf("history --lost:\n%s", r)
	}
	for _, text := range []string{r.Out, old.Log(), fileText(t, filepath.Join(old.StateDir(), "lost", lost[0].ID, "summary.json"))} {
		if strings.Contains(text, "secret") {
			t.Error("a row is told")
		}
	}
	// With the agent gone its state directory tells the same, without etcd too.
	b.Must(old.Stop(time.Minute))
	for range 2 {
		r, err := b.Run(t.Context(), "", "history", "--lost", "-c", old.ConfigPath(), "-o", "json")
		b.Must(err)
		if lost := lostOf(b, old.Name, r); len(lost) != 1 || lost[0].Transactions != 6 {
			t.Errorf("from the state directory: %+v", lost)
		}
		b.Etcd.Stop()
	}
}

func TestACloneIsCopiedFromAStandbyTaggedForIt(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2, Configure: func(name string, config map[string]any) {
		if name == "pg2" {
			config["tags"] = map[string]any{"clonefrom": true, "nofailover": true}
		}
	}})
	primary := b.Healthy(20 * time.Second)
	o := b.Observe()
	o.Fault()
	third, err := b.Add("pg3")
	b.Must(err)
	b.Must(third.Start())
	b.Healthy(40 * time.Second)
	label := fileText(t, filepath.Join(third.DataDir(), "backup_label.old"))
	if !strings.Contains(label, "BACKUP FROM: standby") {
		t.Errorf("the clone was not copied from the standby:\n%s", label)
	}
	b.WaitText(b.Node("pg2"), "select count(*) from pg_replication_slots where slot_name = 'pg3'", "0") // none is kept for the clone
	o.NothingFailed()
	o.End(primary, 0)
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

func linesWith(text, word string) (found []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return found
}
