//go:build integration

package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// processWatch looks at the arguments and the environment of every process of the
// machine, over and over, for texts that must not be there.
type processWatch struct {
	secrets []string
	mu      sync.Mutex
	// found are the places of secrets; programs the names of what was seen, our own by
	// their verbs. exempt are the verbs that may have secrets in their environment, true
	// once one had.
	found    map[string]bool
	programs map[string]bool
	exempt   map[string]bool
	end      context.CancelFunc
	ended    sync.WaitGroup
}

func watchProcesses(secrets []string, exempt ...string) *processWatch {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // ended by stop, before the last greps
	w := &processWatch{secrets: secrets, found: map[string]bool{}, programs: map[string]bool{}, exempt: map[string]bool{}, end: cancel}
	for _, verb := range exempt {
		w.exempt[verb] = false
	}
	w.ended.Go(func() {
		for ctx.Err() == nil {
			w.look()
		}
	})
	return w
}

func (w *processWatch) stop() { w.end(); w.ended.Wait() }

func (w *processWatch) look() {
	entries, _ := os.ReadDir("/proc") // a machine without /proc has no PostgreSQL either
	for _, e := range entries {
		if e.Name()[0] < '0' || e.Name()[0] > '9' {
			continue
		}
		// In this order: a child that has not yet become another program has both of its
		// parent's.
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		environment, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		w.judge(strings.Split(string(line), "\x00"), string(line), string(environment))
	}
}

func (w *processWatch) judge(argv []string, line, environment string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	program := filepath.Base(argv[0])
	if verbs := argv[1:]; len(verbs) > 0 && (program == "pgkeeper" || program == "exe") {
		program = verbs[0]
	}
	w.programs[program] = true
	for _, s := range w.secrets {
		if strings.Contains(line, s) {
			w.found["arguments of "+strings.Join(argv, " ")] = true
		}
		if !strings.Contains(environment, s) {
			continue
		}
		if _, exempt := w.exempt[program]; exempt {
			w.exempt[program] = true
			continue
		}
		w.found["environment of "+strings.Join(argv, " ")] = true
	}
}

// TestPasswordsFromTheEnvironmentReachSupervisorAndWorkerAlone: the main process is given
// them, and the worker reads them. No process below these two has them, for however short
// it lives.
func TestPasswordsFromTheEnvironmentReachSupervisorAndWorkerAlone(t *testing.T) {
	t.Parallel()
	secret := "mark-" + rand.Text()
	p := bedtest.PgBouncer(t, map[string]string{"postgres": "super-secret"})
	watch := watchProcesses([]string{secret}, "agent", "agent-worker")
	defer watch.stop()
	b := bedtest.New(t, testbed.Options{Nodes: 2, TTL: longTTL, Dynamic: map[string]any{"commit_gate": true},
		Environment: []string{
			"PGKEEPER_REPLICATION_PASSWORD=" + secret, "PATRONI_REWIND_PASSWORD=" + secret, "PGPASSWORD=" + secret,
			"PATRONI_RESTAPI_USERNAME=op", "PGKEEPER_RESTAPI_PASSWORD=" + secret,
		},
		Configure: func(name string, config map[string]any) {
			if name == "pg1" {
				config["poolers"] = p.Pooler("postgres")
			}
		},
	})
	first := b.Healthy(20 * time.Second)
	awaitGate(b, first)
	b.Ctl("switchover", "--force") // a dead man's switch for what is paused
	awaitGate(b, b.Primary(20*time.Second, first))
	watch.stop()
	for place := range watch.found {
		t.Errorf("a password is in the %s", place)
	}
	for _, verb := range []string{"agent", "agent-worker"} {
		if !watch.exempt[verb] {
			t.Errorf("no %s was seen with the passwords, so that nothing is known of the others", verb)
		}
	}
	for _, program := range []string{"guard", "gate", "probe", "pooler-deadman", "postgres", "pg_basebackup"} {
		if !watch.programs[program] {
			t.Errorf("no %s was seen at work, so that nothing is known of it", program)
		}
	}
}

// marks are secrets of this run, by what they are for. Each has characters that
// matter to conninfo, to password files, to SQL and to a shell.
func marks() map[string]string {
	out := map[string]string{}
	for _, name := range []string{"superuser", "replication", "rewind", "rest"} {
		out[name] = "mark-" + rand.Text() + `-a'b\c:d"$e f`
	}
	return out
}

// unescaped is the part of a mark that looks the same however it is quoted.
func unescaped(mark string) string {
	found, _, _ := strings.Cut(mark, "'")
	return found
}

func secretBed(t *testing.T, secrets map[string]string) *bedtest.Bed {
	t.Helper()
	return bedtest.New(t, testbed.Options{Nodes: 2, TTL: shortTTL, Configure: func(_ string, config map[string]any) {
		roles := config["postgresql"].(map[string]any)["authentication"].(map[string]any) //nolint:forcetypeassert // the testbed's own
		for name, role := range roles {
			role.(map[string]any)["password"] = secrets[name] //nolint:forcetypeassert // the testbed's own
		}
		roles["replication"].(map[string]any)["username"] = `rep "l'i\c $1; --` //nolint:forcetypeassert // the testbed's own
		roles["rewind"].(map[string]any)["username"] = `Re;wind'er"`            //nolint:forcetypeassert // the testbed's own
		config["restapi"].(map[string]any)["authentication"] = map[string]any{  //nolint:forcetypeassert // the testbed's own
			"username": "op", "password": secrets["rest"],
		}
		config["log"] = map[string]any{"level": "DEBUG"}
	}})
}

func TestNoSecretIsInArgumentsEnvironmentsLogsAnswersOrFiles(t *testing.T) {
	secrets := marks()
	var texts []string
	for _, s := range secrets {
		texts = append(texts, unescaped(s))
	}
	watch := watchProcesses(texts)
	defer watch.stop()
	b := secretBed(t, secrets)
	client, err := b.Etcd.Client(t.Context())
	b.Must(err)
	defer client.Close()

	// The roles have hostile names: that a standby was cloned and streams says that
	// they were quoted wherever they went. The testbed's clients know another password.
	b.Wait(60*time.Second, "a standby that streams", func(ctx) string {
		for _, n := range b.Nodes {
			if n.Health(t.Context(), "/replica") == 200 {
				if s, err := n.Status(t.Context()); err == nil && s.ReplicationState == "streaming" {
					return ""
				}
			}
		}
		return "there is none"
	})
	stored, err := client.Get(t.Context(), testbed.Base+"pgkeeper/peer_key")
	b.Must(err)
	if len(stored.Kvs) != 1 || stored.Kvs[0].ModRevision != stored.Kvs[0].CreateRevision {
		t.Fatalf("pgkeeper/peer_key: %+v", stored.Kvs)
	}
	var key struct {
		Key string `json:"key"`
	}
	b.Must(json.Unmarshal(stored.Kvs[0].Value, &key))
	texts = append(texts, key.Key)

	b.Wait(10*time.Second, "the agents to reach each other", func(ctx) string { // each within a bound
		reached := b.Ctl("peers", "-o", "json")
		if strings.Count(reached.Out, `"Reached": true`)+strings.Count(reached.Out, `"Reached":true`) != 2 {
			return reached.Out
		}
		return ""
	})
	b.Must(b.Nodes[0].Signal(testbed.Supervisor, syscall.SIGHUP))
	b.Wait(10*time.Second, "the reload", func(ctx) string {
		if count(b.Nodes[0].Log(), "configuration reloaded") == 0 {
			return "it is not logged"
		}
		return ""
	})

	for _, n := range b.Nodes {
		for _, path := range []string{"/", "/patroni", "/config", "/cluster", "/history", "/metrics", "/failsafe", "/liveness", "/pgkeeper/explain"} {
			_, answer, err := n.Do(t.Context(), "GET", path, "")
			b.Must(err)
			noSecret(t, "GET "+path, answer, texts)
		}
		noSecret(t, "the log of "+n.Name, n.Log(), texts)
		private(t, n, texts)
	}
	for _, verb := range []string{"list", "show-config", "explain", "history", "peers"} {
		r := b.Ctl(verb)
		noSecret(t, "pgkeeper "+verb, r.Out+r.Err, texts)
	}
	watch.stop()
	for place := range watch.found {
		t.Errorf("a password is in the %s", place)
	}
	for _, program := range []string{"initdb", "pg_basebackup"} {
		if !watch.programs[program] {
			t.Errorf("no %s was seen at work, so that nothing is known of it", program)
		}
	}
}

func noSecret(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s holds the secret %s", where, s)
		}
	}
}

// private checks who may read a node's folders, and what the agent keeps.
func private(t *testing.T, n *testbed.Node, secrets []string) {
	t.Helper()
	for _, dir := range []string{n.DataDir(), n.RuntimeDir()} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, want 0700", dir, info.Mode())
		}
	}
	for _, dir := range []string{n.StateDir(), n.RuntimeDir()} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a file that was replaced while the folder was read
			}
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return nil //nolint:nilerr // a file that was rotated away
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v, want nothing for others", path, info.Mode())
			}
			if !info.Mode().IsRegular() || e.Name() == "pgpass" {
				return nil
			}
			text, err := os.ReadFile(path)
			noSecret(t, path, string(text), secrets)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // likewise
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
