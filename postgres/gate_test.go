package postgres

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestTheNameOfTheGateIsExchangedAndNothingElse(t *testing.T) {
	s := bare(t)
	s.o.PgPass = s.o.DataDir + ".pass"
	spec := ConfigSpec{Settings: cluster.DefaultSettings(), Upstream: &Upstream{Host: "a", Port: "1", SlotName: "x"}}
	s.put(t, confName, "shared_buffers = 1GB # of initdb\n")
	if err := s.WriteGate("pgkeeper_gate_1"); !errors.Is(err, ErrNotGenerated) {
		t.Errorf("a configuration that is not ours: %v", err)
	}
	plain := s.renderConf(spec)
	if _, err := s.writeFiles(spec, plain); err != nil {
		t.Fatal(err)
	}
	for _, gate := range []string{"pgkeeper_gate_1", "pgkeeper_gate_2", ""} {
		if err := s.WriteGate(gate); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(s.conf(confName))
		if err != nil {
			t.Fatal(err)
		}
		spec.Gate = gate
		if want := s.renderConf(spec); string(got) != want {
			t.Errorf("with gate %q the file is\n%s\nwant\n%s", gate, got, want)
		}
		last := "synchronous_standby_names = '" + gate + "'\n" + includeSync // a synchronous mode wins
		if gate == "" && string(got) != plain || gate != "" && !strings.HasSuffix(string(got), last) {
			t.Errorf("with gate %q the file ends with %q", gate, string(got[max(0, len(got)-80):]))
		}
	}
	// Whom a standby follows is exchanged beside it.
	other := Upstream{Host: "b", Port: "2"}
	moved := spec
	spec.Gate, moved.Gate, moved.Upstream = "pgkeeper_gate_3", "pgkeeper_gate_3", &other
	if got, want := replaceUpstream(s.renderConf(spec), s.PrimaryConninfo(other), "", false), s.renderConf(moved); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAlterSystemDoesNotTakeTheGateAway(t *testing.T) {
	s := bare(t)
	const text = "work_mem = '1MB'\nSynchronous_Standby_Names = 'pg2'\n"
	for _, gated := range []bool{false, true} {
		s.put(t, autoName, text)
		s.flag.proved("1", s.flag.began())
		if _, err := s.stripAuto(gated); err != nil {
			t.Fatal(err)
		}
		if s.flag.isOn("1") == gated {
			t.Errorf("gated %t: names that somebody else had set may have been empty", gated)
		}
		got, err := os.ReadFile(s.data(autoName))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got), "pg2") == gated || !strings.Contains(string(got), "work_mem") {
			t.Errorf("gated %t: %q", gated, got)
		}
	}
}

func TestTheGateTakesNoWalsenderOfOthers(t *testing.T) {
	s := bare(t)
	settings := cluster.DefaultSettings()
	settings.PostgreSQL.Parameters = map[string]string{"max_wal_senders": "20"}
	settings.CommitGate = true
	if got := s.forcedFrom(settings)["max_wal_senders"]; got != "21" {
		t.Errorf("max_wal_senders is %s, want 21", got)
	}
}

func TestHowCommitsWaitForTheGate(t *testing.T) {
	const name = "pgkeeper_gate_1"
	row := func(name, sync string) []cluster.Walsender { return []cluster.Walsender{{Name: name, SyncState: sync}} }
	for _, c := range []struct {
		what    string
		names   string
		senders []cluster.Walsender
		want    cluster.GateState
	}{
		{"no name", "", row(name, "async"), cluster.GateOff},
		{"another name", "pg2", row("pg2", "sync"), cluster.GateOff},
		{"nobody", name, nil, cluster.GateMissing},
		{"not yet", name, row(name, "async"), cluster.GateMissing},
		{"an earlier gate", name, row("pgkeeper_gate_0", "sync"), cluster.GateMissing},
		{"the gate", name, row(name, "sync"), cluster.GateConnected},
	} {
		if got := gateIn(c.senders, c.names); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
