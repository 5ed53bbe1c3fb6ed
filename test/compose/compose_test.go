//go:build compose

package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/routing/render"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

const image = "pgkeeper:latest"

// stack is one project of docker-compose with ports of its own.
type stack struct {
	t            *testing.T
	dir, name    string
	compose      []string
	rw, ro, pool int
	// volumes are those without a name, which docker-compose leaves behind for containers that were scaled away.
	volumes map[string]bool
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, dir: t.TempDir(), name: "pgkeeper-test-" + strconv.Itoa(os.Getpid()), rw: freeport.Of(t), ro: freeport.Of(t), pool: freeport.Of(t), volumes: map[string]bool{}}
	s.compose = composeProgram(t)
	if out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", image).CombinedOutput(); err != nil {
		t.Skipf("there is no image %s, or no engine: make image (%s)", image, strings.TrimSpace(string(out)))
	}
	files, err := render.Render("compose", render.DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(s.dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.try("logs", "--tail=40"))
		}
		out := s.try("down", "-v", "--timeout", "20")
		t.Log("down:", out)
		for volume := range s.volumes {
			_ = exec.Command("docker", "volume", "rm", volume).Run() // most are gone
		}
	})
	return s
}

// composeProgram is docker-compose, or the plugin of docker.
func composeProgram(t *testing.T) []string {
	t.Helper()
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}
	}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	t.Skip("there is neither docker-compose nor docker compose")
	return nil
}

func (s *stack) try(args ...string) string {
	words := append(slices.Clone(s.compose), append([]string{"-p", s.name}, args...)...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("PGKEEPER_PORT_RW=127.0.0.1:%d", s.rw), fmt.Sprintf("PGKEEPER_PORT_RO=127.0.0.1:%d", s.ro),
		"PGKEEPER_PORT_STATS="+strconv.Itoa(freeport.Of(s.t)), fmt.Sprintf("PGKEEPER_PORT_POOL=127.0.0.1:%d", s.pool))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\n%s: %v", out, strings.Join(args, " "), err)
	}
	return string(out)
}

func (s *stack) up(nodes int, more ...string) {
	s.t.Helper()
	if out := s.try(append(append([]string{"up", "-d", "--scale", "node=" + strconv.Itoa(nodes)}, more...), "node", "haproxy", "pgbouncer", "setup")...); strings.Contains(out, "ERROR") {
		s.t.Fatal(out)
	}
	s.noteVolumes()
}

func (s *stack) noteVolumes() {
	s.t.Helper()
	ids, err := exec.CommandContext(s.t.Context(), "docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+s.name).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	const names = `{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}`
	out, err := exec.CommandContext(s.t.Context(), "docker", append([]string{"inspect", "-f", names}, strings.Fields(string(ids))...)...).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(name, s.name) {
			s.volumes[name] = true
		}
	}
}

type member struct{ Member, Role, State string }

// members asks one node for the list.
func (s *stack) members() []member {
	cmd := append(slices.Clone(s.compose), "-p", s.name, "exec", "-T", "node", "pgkeeper", "list", "-o", "json")
	run := exec.Command(cmd[0], cmd[1:]...)
	run.Dir = s.dir
	out, err := run.Output()
	var list []member
	if err != nil || json.Unmarshal(out, &list) != nil {
		return nil
	}
	return list
}

// healthy waits for a leader and so many standbys that stream, and returns all names, the leader's first.
func (s *stack) healthy(nodes int, limit time.Duration) []string {
	s.t.Helper()
	var names []string
	s.until(limit, fmt.Sprintf("%d healthy nodes", nodes), func(context.Context) error {
		names = names[:0]
		list := s.members()
		for _, m := range list {
			switch {
			case m.Role == "Leader" && m.State == "running":
				names = append([]string{m.Member}, names...)
			case m.State == "streaming":
				names = append(names, m.Member)
			}
		}
		if len(names) != nodes || len(list) != nodes {
			return fmt.Errorf("there is %v", list)
		}
		return nil
	})
	return slices.Clone(names)
}

func (s *stack) until(limit time.Duration, what string, try func(context.Context) error) time.Duration {
	s.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return time.Since(began)
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s after %s: %v", what, limit, err)
		case <-tick.C:
		}
	}
}

// ask runs one statement as a client outside would and returns its one value.
func (s *stack) ask(ctx context.Context, port int, user, database, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable password=change-me-%s", port, user, database, map[string]string{"app": "app", "postgres": "superuser"}[user]))
	if err != nil {
		return "", err
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var value string
	err = conn.QueryRow(ctx, sql).Scan(&value)
	return value, err
}

// serves waits until this way leads to a server in that mode.
func (s *stack) serves(port int, database, recovery string) time.Duration {
	s.t.Helper()
	return s.until(60*time.Second, fmt.Sprintf("port %d, database %s", port, database), func(ctx context.Context) error {
		got, err := s.ask(ctx, port, "app", database, "select pg_is_in_recovery()::text")
		if err == nil && got != recovery {
			err = fmt.Errorf("pg_is_in_recovery is %s", got)
		}
		return err
	})
}

func TestOneNumberOfNodes(t *testing.T) {
	s := newStack(t)
	s.up(3)
	names := s.healthy(3, 90*time.Second)
	s.serves(s.rw, "app", "false")
	s.serves(s.ro, "app", "true")
	s.serves(s.pool, "app", "false")
	s.serves(s.pool, "app_ro", "true")

	began := time.Now()
	s.up(5)
	grown := s.healthy(5, 60*time.Second)
	t.Logf("two more nodes serve %s after docker-compose was called", time.Since(began).Round(100*time.Millisecond))

	leader := grown[0]
	if out, err := exec.CommandContext(t.Context(), "docker", "kill", leader).CombinedOutput(); err != nil {
		t.Fatalf("kill %s: %s", leader, out)
	}
	gap := s.until(60*time.Second, "writes after the primary's container was killed", func(ctx context.Context) error {
		if _, err := s.ask(ctx, s.rw, "app", "app", "create table if not exists t (i int)"); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		_, err := s.ask(ctx, s.rw, "app", "app", "insert into t values (1) returning i::text")
		return err
	})
	t.Logf("writes went on %s after the primary's container was killed (ttl 10)", gap.Round(100*time.Millisecond))
	s.up(3)
	shrunk := s.healthy(3, 60*time.Second)
	for _, name := range grown {
		if !slices.Contains(shrunk, name) {
			s.remove(name)
		}
	}
	s.until(30*time.Second, "the slots of nodes that are gone to go", func(ctx context.Context) error {
		slots, err := s.ask(ctx, s.rw, "postgres", "postgres", "select count(*)::text from pg_replication_slots")
		if err == nil && slots != "2" {
			err = fmt.Errorf("there are %s slots, want one for each standby", slots)
		}
		return err
	})

	s.up(3, "--force-recreate")
	again := s.healthy(3, 90*time.Second)
	slices.Sort(shrunk)
	slices.Sort(again)
	if !slices.Equal(again, shrunk) {
		t.Errorf("containers that were made anew are %v, want the members they were: %v (at first %v)", again, shrunk, names)
	}
	s.until(30*time.Second, "the row after all", func(ctx context.Context) error {
		got, err := s.ask(ctx, s.rw, "app", "app", "select count(*)::text from t")
		if err == nil && got == "0" {
			err = fmt.Errorf("the row is gone")
		}
		return err
	})
}

func (s *stack) remove(name string) {
	s.t.Helper()
	out := s.try("exec", "-T", "node", "pgkeeper", "remove", "--force", "demo", name)
	if !strings.Contains(out, "Success") {
		s.t.Errorf("remove %s: %s", name, out)
	}
}
