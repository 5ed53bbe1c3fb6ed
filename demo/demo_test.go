package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/config"
)

func TestANodesConfigurationIsValid(t *testing.T) {
	dir := t.TempDir()
	text, err := nodeConfig(nodeParams{Name: "pg1", Etcd: "127.0.0.1:2379", Dir: "/tmp/d/pg1", Password: newPassword(), SQLPort: 5432, APIPort: 8008, TTL: ttlSeconds})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pgkeeper.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, problems, err := config.Load(path, nil)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", err, problems)
	}
	settings, problems := config.Dynamic(c.Bootstrap.DCS)
	if len(problems) > 0 || settings.TTL != ttlSeconds*time.Second {
		t.Errorf("ttl %s\n%s", settings.TTL, problems)
	}
	if warning := settings.TimingWarning(500 * time.Millisecond); warning != "" {
		t.Error(warning)
	}
}

func TestKillingANodeEndsWhatWorksInItsFolderAndWhatNamesIt(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inside := exec.CommandContext(t.Context(), "sleep", "60")
	inside.Dir = dir
	naming := exec.CommandContext(t.Context(), "tail", "-f", filepath.Join(dir, "log"), "/dev/null")
	other := exec.CommandContext(t.Context(), "sleep", "60")
	if err := os.WriteFile(filepath.Join(dir, "log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{inside, naming, other} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if got := killAll(dir, func() {}); got != 2 {
		t.Errorf("killed %d processes, want 2", got)
	}
	for _, c := range []*exec.Cmd{inside, naming} {
		if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s: %v", c.Path, err)
		}
	}
	if err := other.Process.Kill(); err != nil {
		t.Errorf("a process that has nothing to do with the node is gone: %v", err)
	}
	_ = other.Wait()
}

func TestAFolderOfTheDemoIsGoneAfterwards(t *testing.T) {
	parent := t.TempDir()
	existing := filepath.Join(parent, "a")
	if err := os.Mkdir(existing, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, stays := range map[string]bool{existing: true, filepath.Join(parent, "b"): false} {
		p := &place{dir: dir, uid: -1}
		if err := p.make(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.folder("pg1"); err != nil {
			t.Fatal(err)
		}
		if err := p.remove(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if stays != (err == nil) || len(entries) > 0 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}

func TestAFolderWithSomethingInItIsRefusedAndUntouched(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&place{dir: dir, uid: -1}).make()
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
		t.Error(err)
	}
}

func TestTheEnvironmentOfANodeConfiguresNothing(t *testing.T) {
	s := &stage{Options: Options{Env: []string{"PATH=/bin", "PGKEEPER_SCOPE=x", "PATRONI_NAME=y", "PGPORT=1", "HOME=/root", "NOTIFY_SOCKET=/run/x"}}}
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/root"}, s.environment()); diff != "" {
		t.Error(diff)
	}
}

func TestProgressIsOverwrittenOnATerminalOnly(t *testing.T) {
	for name, c := range map[string]struct {
		terminal bool
		want     string
	}{
		"terminal": {true, "\r\x1b[K      ... a\r\x1b[K      ... b\r\x1b[K      done\n"},
		"plain":    {false, "      ... a\n      done\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				n := &narrator{out: &out, terminal: c.terminal}
				n.progress("a")
				n.progress("a")
				n.progress("b") // too soon for a line of its own
				n.say("done")
				if diff := cmp.Diff(c.want, out.String()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAWaitEndsWithWhatWasLastSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{narrator: &narrator{out: &bytes.Buffer{}}}
		err := s.wait(t.Context(), 50*time.Millisecond, "nobody took over", func(context.Context) (bool, string) { return false, "pg2: racing" })
		if err == nil || err.Error() != "nobody took over after 50ms; last seen: pg2: racing" {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.wait(ctx, time.Minute, "x", func(context.Context) (bool, string) { return false, "" }); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
	})
}

func TestAWaitEndsWhenAnAgentEnds(t *testing.T) {
	dir := t.TempDir()
	exited := make(chan struct{})
	close(exited)
	n := &node{name: "pg2", dir: dir, exited: exited}
	if err := os.WriteFile(n.agentLog(), []byte("time=1 msg=started\nError: port 5432 is in use\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stage{narrator: &narrator{out: &bytes.Buffer{}}, nodes: []*node{n}}
	err := s.wait(t.Context(), time.Minute, "x", func(context.Context) (bool, string) { return false, "" })
	if err == nil || !strings.Contains(err.Error(), "the agent of pg2 has ended: Error: port 5432 is in use") {
		t.Errorf("got %v", err)
	}
}

func TestLastWordsKeepTheAgentsApartFromTheServers(t *testing.T) {
	n := &node{name: "pg1", dir: t.TempDir()}
	text := "time=1 msg=a\n" + strings.Repeat("LOG: spam\n", 50) + "time=2 msg=b\nLOG: last\n"
	if err := os.WriteFile(n.agentLog(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"time=1 msg=a", "time=2 msg=b", "LOG: spam", "LOG: last"}, n.lastWords(5, 2)); diff != "" {
		t.Error(diff)
	}
}

func TestFiguresReadWell(t *testing.T) {
	if got := seconds(412*time.Millisecond) + " " + seconds(5310*time.Millisecond) + " " + thousands(999) + " " + thousands(1234567); got != "412 ms 5.31 s 999 1,234,567" {
		t.Error(got)
	}
}
