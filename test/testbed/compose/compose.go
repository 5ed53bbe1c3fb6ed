package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
	"github.com/pgkeeper/pgkeeper/routing/render"
)

// ErrNoProgram is that of Program where there is neither docker-compose nor docker's plugin.
var ErrNoProgram = errors.New("there is neither docker-compose nor docker compose")

// Stack is one project of docker-compose.
type Stack struct {
	Dir, Name string
	// RW and RO are HAProxy's ports for writes and reads, Pool is PgBouncer's.
	RW, RO, Pool int
	// Passwords are those of users.
	Passwords map[string]string

	stats   int
	program []string
	// volumes are those without a name, which docker-compose leaves behind for containers that were scaled away.
	volumes map[string]bool
}

// Program is $COMPOSE, or docker-compose, or the plugin of docker.
func Program(ctx context.Context) ([]string, error) {
	if words := strings.Fields(os.Getenv("COMPOSE")); len(words) > 0 {
		return words, nil
	}
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}, nil
	}
	if exec.CommandContext(ctx, "docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}, nil
	}
	return nil, ErrNoProgram
}

// New writes the files of a stack into dir; nothing is started.
func New(ctx context.Context, dir, name string, p render.Params) (*Stack, error) {
	program, err := Program(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freeport.Find(4)
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: dir, Name: name, RW: ports[0], RO: ports[1], Pool: ports[2], stats: ports[3], program: program, volumes: map[string]bool{},
		Passwords: map[string]string{"app": "changed-app", "postgres": "changed-superuser"}}
	if err := WriteFiles("compose", p, dir); err != nil {
		return nil, err
	}
	return s, s.changeSecrets()
}

// WriteFiles renders what belongs to one kind into a folder.
func WriteFiles(kind string, p render.Params, dir string) error {
	files, err := render.Render(kind, p)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// changeSecrets puts other passwords into secrets/, as a user is told to.
func (s *Stack) changeSecrets() error {
	for name, password := range map[string]string{
		"app": s.Passwords["app"], "pooler": `changed "pooler"`, "replication": "changed-replication", "rewind": "changed-rewind", "superuser": s.Passwords["postgres"],
	} {
		if err := os.WriteFile(filepath.Join(s.Dir, "secrets", name), []byte(password+"\n"), 0o644); err != nil {
			return err
		}
	}
	files, err := os.ReadDir(filepath.Join(s.Dir, "secrets"))
	if err == nil && len(files) != 5 {
		err = fmt.Errorf("secrets/ has %d files, want the five that were changed", len(files))
	}
	return err
}

func (s *Stack) command(ctx context.Context, args ...string) *exec.Cmd {
	words := append(append(append([]string{}, s.program...), "-p", s.Name), args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("PGKEEPER_PORT_RW=127.0.0.1:%d", s.RW), fmt.Sprintf("PGKEEPER_PORT_RO=127.0.0.1:%d", s.RO),
		"PGKEEPER_PORT_STATS="+strconv.Itoa(s.stats), fmt.Sprintf("PGKEEPER_PORT_POOL=127.0.0.1:%d", s.Pool))
	return cmd
}

// limit bounds every call of the program but InNode's.
const limit = 3 * time.Minute

// Run calls the program, in a cleanup too, and returns what it printed.
func (s *Stack) Run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := s.command(ctx, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// Up starts the stack, or scales it to so many nodes.
func (s *Stack) Up(nodes int, more ...string) error {
	args := append(append([]string{"up", "-d", "--scale", "node=" + strconv.Itoa(nodes)}, more...), "node", "haproxy", "pgbouncer")
	if _, err := s.Run(args...); err != nil {
		return err
	}
	return s.noteVolumes()
}

func (s *Stack) noteVolumes() error {
	ids, err := exec.Command("docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+s.Name).Output() //nolint:noctx // short
	if err != nil {
		return fmt.Errorf("list the stack's containers: %w", err)
	}
	const names = `{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}`
	out, err := exec.Command("docker", append([]string{"inspect", "-f", names}, strings.Fields(string(ids))...)...).Output() //nolint:noctx // short
	if err != nil {
		return fmt.Errorf("look at the stack's containers: %w", err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(name, s.Name) {
			s.volumes[name] = true
		}
	}
	return nil
}

// InNode runs a command in one of the nodes' containers.
func (s *Stack) InNode(ctx context.Context, args ...string) ([]byte, error) {
	return s.command(ctx, append([]string{"exec", "-T", "node"}, args...)...).Output()
}

// Member is one of the cluster's as `pgkeeper list` has it.
type Member struct{ Member, Role, State string }

// ParseMembers reads what `pgkeeper list -o json` printed.
func ParseMembers(text []byte) (list []Member, err error) {
	return list, json.Unmarshal(text, &list)
}

// Serving are the names of those that serve, the leader's first: the leader whose server runs, and standbys that stream.
func Serving(list []Member) (names []string) {
	for _, m := range list {
		switch {
		case m.Role == "Leader" && m.State == "running":
			names = append([]string{m.Member}, names...)
		case m.State == "streaming":
			names = append(names, m.Member)
		}
	}
	return names
}

// Down removes the stack and all that it left.
func (s *Stack) Down() (string, error) {
	said, err := s.Run("down", "-v", "--timeout", "20")
	for volume := range s.volumes {
		_ = exec.Command("docker", "volume", "rm", volume).Run() //nolint:noctx // most are gone
	}
	return said, err
}
