package postgres

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestWhatTheKernelShowsOfAProcessIsRead(t *testing.T) {
	const status = "Name:\tpostgres\nState:\t%s\nSigQ:\t0/7\nSigPnd:\t%s\nShdPnd:\t%s\nSigBlk:\t0000000000000001\n"
	for _, c := range []struct {
		state, own, shared string
		asleep, pending    bool
		bad                bool
	}{
		{state: "S (sleeping)", own: "0000000000000000", shared: "0000000000000000", asleep: true},
		{state: "R (running)", own: "0000000000000000", shared: "0000000000000000"},
		{state: "T (stopped)", own: "0000000000000000", shared: "0000000000000001", pending: true},
		{state: "S (sleeping)", own: "0000000000000001", shared: "0000000000000000", asleep: true, pending: true},
		{state: "S (sleeping)", own: "0000000000000002", shared: "fffffffffffffffe", asleep: true},
		{state: "S (sleeping)", own: "?", shared: "0000000000000000", bad: true},
	} {
		text := strings.Replace(strings.Replace(strings.Replace(status, "%s", c.state, 1), "%s", c.own, 1), "%s", c.shared, 1)
		asleep, pending, err := parseStatus([]byte(text))
		if (err != nil) != c.bad || err == nil && (asleep != c.asleep || pending != c.pending) {
			t.Errorf("%+v: asleep %t, pending %t, %v", c, asleep, pending, err)
		}
	}
	if _, _, err := parseStatus([]byte("State:\tS (sleeping)\n")); err == nil {
		t.Error("signals that are not shown are taken for none")
	}
}

func TestASignalOnItsWayIsSeen(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "env", "--default-signal=HUP", "sleep", "600") // whoever runs the tests may ignore it
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pid := cmd.Process.Pid
	await := func(what string, wanted func() bool) {
		t.Helper()
		for range 2000 {
			if wanted() {
				return
			}
			pause(t.Context(), 5*time.Millisecond)
		}
		t.Fatalf("%s: not seen", what)
	}
	await("sleep", func() bool {
		name, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm") // env before that
		asleep, pending, err := bare(t).sleeps(pid)
		return string(name) == "sleep\n" && err == nil && asleep && !pending
	})
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	await("stopped", func() bool { // of two signals on their way the lower number is handled first, and ends it
		status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		return strings.Contains(string(status), "State:\tT")
	})
	_ = syscall.Kill(pid, syscall.SIGHUP)
	await("a pending signal", func() bool { asleep, pending, err := bare(t).sleeps(pid); return err == nil && !asleep && pending })
	if _, _, err := bare(t).sleeps(1 << 30); err == nil {
		t.Error("nobody sleeps")
	}
}

func TestTheFlagIsKnownOfOneServer(t *testing.T) {
	var f syncFlag
	for _, step := range []struct {
		what   string
		do     func()
		server string
		on     bool
	}{
		{"nothing is known", func() {}, "1", false},
		{"it was proved", func() { f.proved("1", f.began()) }, "1", true},
		{"of that server", func() {}, "2", false},
		{"nor of none", func() {}, "", false},
		{"it begins without names", func() { f.forget(false) }, "2", false},
		{"it begins with names", func() { f.forget(true) }, "3", true},
		{"which says nothing of the next", func() {}, "4", false},
		{"nor does it end knowing of it", func() {}, "3", true},
		{"names were emptied", func() { f.forget(false) }, "3", false},
		{"in the middle of a proof", func() { at := f.began(); f.forget(false); f.proved("3", at) }, "3", false},
	} {
		step.do()
		if on := f.isOn(step.server); on != step.on {
			t.Errorf("%s: on %t, want %t", step.what, on, step.on)
		}
	}
}

func TestAServerThatBeginsWithNamesIsKnownTo(t *testing.T) {
	s := bare(t)
	for _, c := range []struct {
		what, names string
		running, on bool
	}{
		{"names", "x", false, true},
		{"none", "", false, false},
		{"names, and a server that may have begun without", "x", true, false},
	} {
		s.put(t, syncName, c.names)
		_ = os.Remove(s.data("postmaster.pid"))
		if c.running {
			s.put(t, "postmaster.pid", strconv.Itoa(os.Getpid()))
		}
		if err := s.flagOfStart(); err != nil {
			t.Fatal(err)
		}
		if on := s.flag.isOn("1"); on != c.on {
			t.Errorf("%s: on %t, want %t", c.what, on, c.on)
		}
	}
}

// serverOf is a primary without standbys that shows the names of its file, and whose
// checkpointer waits for what event says.
func serverOf(t *testing.T, event *atomic.Value) *Server {
	t.Helper()
	s := bare(t)
	pid := s.sleeper(t)
	s.answering(t, func(sql string) []string {
		content, _ := os.ReadFile(s.conf(syncName))
		shown, ours := "", "f"
		if _, set, found := strings.Cut(string(content), "synchronous_standby_names = '"); found {
			shown, ours = strings.TrimSuffix(set, "'\n"), "t"
		}
		switch {
		case strings.Contains(sql, "data_directory"):
			return []string{s.o.DataDir}
		case sql == showsSQL:
			return []string{shown, ours, "f", "born"}
		case sql == checkpointerSQL:
			return []string{strconv.Itoa(pid), event.Load().(string), "born"}
		case strings.Contains(sql, "pg_logical_emit_message"):
			return []string{"false", "0/20"}
		case strings.Contains(sql, "count(*)"):
			return []string{"0"}
		case strings.Contains(sql, "pg_current_wal_flush_lsn"):
			return []string{"0/30"}
		}
		return []string{"born"}
	})
	return s
}

func TestNamesAreNotInForceWhileACheckpointIsUnderWay(t *testing.T) {
	var event atomic.Value
	event.Store("CheckpointWriteDelay")
	s := serverOf(t, &event)
	set := func(names string) (cluster.LSN, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return s.SetSync(ctx, names)
	}
	if _, err := set("b"); !errors.Is(err, errFlag) {
		t.Errorf("while a checkpoint is under way: %v", err)
	}
	if _, err := set(""); err != nil {
		t.Errorf("that commits wait for nobody waits for a checkpoint: %v", err)
	}
	if err := s.GateTaken(limited(t)); !errors.Is(err, errFlag) {
		t.Errorf("a gate while a checkpoint is under way: %v", err)
	}
	event.Store("CheckpointerMain")
	if from, err := s.SetSync(t.Context(), "b"); err != nil || from != 0x30 {
		t.Errorf("after it: %s, %v", from, err)
	}
	event.Store("CheckpointWriteDelay")
	if from, err := set("c"); err != nil || from != 0x30 {
		t.Errorf("other names: %s, %v", from, err)
	}
	if err := s.GateTaken(limited(t)); err != nil {
		t.Errorf("a gate of a server whose commits wait: %v", err)
	}
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
