//go:build containers

package containers

import (
	"context"
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

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/routing/render"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

// stack is one project of docker-compose with ports of its own.
type stack struct {
	deployed
	dir, name string
	compose   []string
	stats     int
	// volumes are those without a name, which docker-compose leaves behind for containers that were scaled away.
	volumes map[string]bool
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{
		deployed: deployed{t: t, rw: freeport.Of(t), ro: freeport.Of(t), pool: freeport.Of(t),
			password: map[string]string{"app": "changed-app", "postgres": "changed-superuser"}},
		dir: t.TempDir(), name: "pgkeeper-test-" + strconv.Itoa(os.Getpid()), stats: freeport.Of(t), volumes: map[string]bool{}}
	s.compose = composeProgram(t)
	s.inNode = func(args ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), answers)
		defer cancel()
		return s.command(ctx, append([]string{"exec", "-T", "node"}, args...)...).Output()
	}
	needImage(t)
	writeFiles(t, "compose", params(), s.dir)
	s.changeSecrets()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.run("logs", "--tail=40"))
		}
		t.Log(s.run("down", "-v", "--timeout", "20"))
		for volume := range s.volumes {
			_ = exec.Command("docker", "volume", "rm", volume).Run() // most are gone
		}
	})
	return s
}

// changeSecrets puts other passwords into secrets/, as a user is told to.
func (s *stack) changeSecrets() {
	s.t.Helper()
	for name, password := range map[string]string{
		"app": s.password["app"], "pooler": `changed "pooler"`, "replication": "changed-replication", "rewind": "changed-rewind", "superuser": s.password["postgres"],
	} {
		if err := os.WriteFile(filepath.Join(s.dir, "secrets", name), []byte(password+"\n"), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	files, err := os.ReadDir(filepath.Join(s.dir, "secrets"))
	if err != nil || len(files) != 5 {
		s.t.Fatalf("secrets/ has %d files, want the five that were changed: %v", len(files), err)
	}
}

// writeFiles renders what belongs to one kind into a folder.
func writeFiles(t *testing.T, kind string, p render.Params, dir string) {
	t.Helper()
	files, err := render.Render(kind, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// composeProgram is $COMPOSE, or docker-compose, or the plugin of docker.
func composeProgram(t *testing.T) []string {
	t.Helper()
	if words := strings.Fields(os.Getenv("COMPOSE")); len(words) > 0 {
		return words
	}
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}
	}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	t.Skip("there is neither docker-compose nor docker compose")
	return nil
}

func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	words := append(slices.Clone(s.compose), append([]string{"-p", s.name}, args...)...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("PGKEEPER_PORT_RW=127.0.0.1:%d", s.rw), fmt.Sprintf("PGKEEPER_PORT_RO=127.0.0.1:%d", s.ro),
		"PGKEEPER_PORT_STATS="+strconv.Itoa(s.stats), fmt.Sprintf("PGKEEPER_PORT_POOL=127.0.0.1:%d", s.pool))
	return cmd
}

// composeLimit bounds every other call of the program.
const composeLimit = 3 * time.Minute

// run calls the program, in a cleanup too.
func (s *stack) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), composeLimit)
	defer cancel()
	out, err := s.command(ctx, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (s *stack) up(nodes int, more ...string) {
	s.t.Helper()
	args := append(append([]string{"up", "-d", "--scale", "node=" + strconv.Itoa(nodes)}, more...), "node", "haproxy", "pgbouncer")
	if _, err := s.run(args...); err != nil {
		s.t.Fatal(err)
	}
	s.noteVolumes()
}

func (s *stack) noteVolumes() {
	s.t.Helper()
	ids := docker(s.t, "ps", "-aq", "--filter", "label=com.docker.compose.project="+s.name)
	const names = `{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}`
	for name := range strings.FieldsSeq(docker(s.t, append([]string{"inspect", "-f", names}, strings.Fields(ids)...)...)) {
		if !strings.HasPrefix(name, s.name) {
			s.volumes[name] = true
		}
	}
}

// firstLogin connects as the application as soon as anything answers: a cluster that refuses its role or database then was
// let through before they were made.
func (s *stack) firstLogin() {
	s.t.Helper()
	s.until(patience, "a first login of the application", func(ctx context.Context) error {
		_, err := s.askWithin(ctx, time.Minute, s.rw, "app", "app", "select 1::text")
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
			s.t.Fatalf("the application was let through and refused: %v", refused)
		}
		return err
	})
}

func TestOneNumberOfNodes(t *testing.T) {
	s := newStack(t)
	s.up(3)
	s.firstLogin()
	names := s.healthy(3, patience)
	s.serves(s.rw, "app", "app", "false")
	s.serves(s.ro, "app", "app", "true")
	s.serves(s.pool, "app", "app", "false")
	s.serves(s.pool, "app", "app_ro", "true")

	began := time.Now()
	s.up(5)
	grown := s.healthy(5, patience)
	t.Logf("two more nodes serve %s after docker-compose was called", time.Since(began).Round(100*time.Millisecond))

	docker(t, "kill", grown[0])
	t.Logf("writes went on %s after the primary's container was killed (ttl 10)", s.writes("app", "app").Round(100*time.Millisecond))
	s.up(3)
	shrunk := s.healthy(3, patience)
	for _, name := range grown {
		if !slices.Contains(shrunk, name) {
			s.remove("demo", name)
		}
	}
	s.slots(2)

	s.up(3, "--force-recreate")
	again := s.healthy(3, patience)
	slices.Sort(shrunk)
	slices.Sort(again)
	if !slices.Equal(again, shrunk) {
		t.Errorf("containers that were made anew are %v, want the members they were: %v (at first %v)", again, shrunk, names)
	}
	s.kept("app", "app", 1)
}
