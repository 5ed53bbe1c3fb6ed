//go:build containers

package containers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed/compose"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

// etcdFile adds to the stack the etcd that a user has elsewhere.
const etcdFile = `version: "3.9"
services:
  etcd:
    image: ` + image + `
    hostname: etcd
    entrypoint: [etcd, --name=etcd, --data-dir=/var/lib/postgresql/etcd, "--advertise-client-urls=http://etcd:2379", "--listen-client-urls=http://0.0.0.0:2379"]
    command: []
    healthcheck: {disable: true}
    networks: [cluster]
`

// swarm is a stack on a swarm of this machine alone, made for it.
type swarm struct {
	deployed
	name string
}

func newSwarm(t *testing.T) *swarm {
	t.Helper()
	needImage(t)
	if state := docker(t, "info", "-f", "{{.Swarm.LocalNodeState}}"); state != "inactive" {
		t.Skipf("this engine is in a swarm already (%s), which the test would end", state)
	}
	password := strconv.Itoa(os.Getpid())
	s := &swarm{
		deployed: deployed{t: t, rw: freeport.Of(t), ro: freeport.Of(t), password: map[string]string{"postgres": password}},
		name:     "pgkeeper-swarm-" + password,
	}
	s.inNode = s.inAnyNode
	hadGateway := exec.Command("docker", "network", "inspect", "docker_gwbridge").Run() == nil
	docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", fmt.Sprintf("127.0.0.1:%d", freeport.Of(t)), "--data-path-port", strconv.Itoa(freeport.Of(t)))
	t.Cleanup(func() { s.end(hadGateway) })
	for _, user := range []string{"superuser", "replication", "rewind"} {
		secret := exec.CommandContext(t.Context(), "docker", "secret", "create", "pgkeeper_"+user, "-")
		secret.Stdin = strings.NewReader(password)
		if out, err := secret.CombinedOutput(); err != nil {
			t.Fatalf("make the secret of %s: %v %s", user, err, out)
		}
	}
	s.deploy()
	return s
}

// deploy starts the stack as it is rendered, but for what a swarm of one machine, and other tests beside it, ask for.
func (s *swarm) deploy() {
	t := s.t
	t.Helper()
	dir := t.TempDir()
	p := params()
	p.Scope, p.Etcd = s.name, []string{"etcd:2379"}
	if err := compose.WriteFiles("swarm", p, dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stack.yml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := string(text)
	for from, to := range map[string]string{
		"max_replicas_per_node: 1": "max_replicas_per_node: 9",
		"published: 5000":          fmt.Sprintf("published: %d", s.rw),
		"published: 5001":          fmt.Sprintf("published: %d", s.ro),
		"delay: 30s":               "delay: 1s",
	} {
		if strings.Count(changed, from) != 1 {
			t.Fatalf("stack.yml has not %q once", from)
		}
		changed = strings.Replace(changed, from, to, 1)
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	etcd := filepath.Join(dir, "etcd.yml")
	if err := os.WriteFile(etcd, []byte(etcdFile), 0o644); err != nil {
		t.Fatal(err)
	}
	docker(t, "stack", "deploy", "--resolve-image", "never", "-c", file, "-c", etcd, s.name)
}

// end removes the stack, its volumes and the swarm. Nothing of it is waited for without a bound: the logs of a service, for
// one, may never end.
func (s *swarm) end(hadGateway bool) {
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, _ := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	containers := func() []string {
		return strings.Fields(run("ps", "-aq", "--filter", "label=com.docker.stack.namespace="+s.name))
	}
	if s.t.Failed() {
		s.t.Log(run("stack", "ps", "--no-trunc", s.name))
		for _, id := range containers() {
			s.t.Logf("%s\n%s", run("inspect", "-f", "{{.Name}} {{.State.Status}}", id), run("logs", "--tail", "40", id))
		}
	}
	run("stack", "rm", s.name)
	for end := time.Now().Add(time.Minute); len(containers()) > 0 && time.Now().Before(end); {
		run(append([]string{"rm", "-f"}, containers()...)...)
	}
	run("swarm", "leave", "--force")
	for volume := range strings.FieldsSeq(run("volume", "ls", "-q", "--filter", "name="+s.name)) {
		run("volume", "rm", volume)
	}
	if !hadGateway {
		run("network", "rm", "docker_gwbridge")
	}
}

// tasks are the containers of the nodes that run.
func (s *swarm) tasks() []string {
	out, _ := exec.Command("docker", "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+s.name+"_node").Output()
	return strings.Fields(string(out))
}

func (s *swarm) inAnyNode(args ...string) ([]byte, error) {
	for _, task := range s.tasks() {
		ctx, cancel := context.WithTimeout(context.Background(), answers)
		out, err := exec.CommandContext(ctx, "docker", append([]string{"exec", task}, args...)...).Output()
		cancel()
		if err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("no task of %s_node answers", s.name)
}

// containerOf is the task that runs a member.
func (s *swarm) containerOf(name string) string {
	s.t.Helper()
	for _, task := range s.tasks() {
		if docker(s.t, "inspect", "-f", "{{.Config.Hostname}}", task) == name {
			return task
		}
	}
	s.t.Fatalf("no task is %s", name)
	return ""
}

func TestAStackOnASwarm(t *testing.T) {
	s := newSwarm(t)
	began := time.Now()
	s.healthy(3, patience)
	t.Logf("three nodes serve %s after the stack was deployed", time.Since(began).Round(100*time.Millisecond))
	s.serves(s.rw, "postgres", "postgres", "false")
	s.serves(s.ro, "postgres", "postgres", "true")
	s.writes("postgres", "postgres")

	docker(t, "service", "scale", "-d", s.name+"_node=4")
	grown := s.healthy(4, patience)

	docker(t, "kill", s.containerOf(grown[0]))
	t.Logf("writes went on %s after the primary's container was killed", s.writes("postgres", "postgres").Round(100*time.Millisecond))
	s.healthy(4, patience) // the task in the same slot has its name and its volume

	before := s.tasks()
	docker(t, "service", "update", "-d", "--force", s.name+"_node")
	s.until(5*time.Minute, "every task to be replaced", func(context.Context) error {
		state := docker(t, "service", "inspect", "-f", "{{.UpdateStatus.State}}", s.name+"_node")
		if state == "paused" {
			t.Fatal("the update was paused: a task failed")
		}
		if left := slices.DeleteFunc(s.tasks(), func(task string) bool { return !slices.Contains(before, task) }); len(left) > 0 || state != "completed" {
			return fmt.Errorf("the update is %s, %d old tasks run", state, len(left))
		}
		return nil
	})
	s.healthy(4, patience)

	docker(t, "service", "scale", "-d", s.name+"_node=3")
	s.until(60*time.Second, "one task to go", func(context.Context) error {
		if n := len(s.tasks()); n != 3 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	s.writes("postgres", "postgres")
	s.remove(s.name, "node4")
	s.healthy(3, patience)
	s.slots(2)
	s.kept("postgres", "postgres", 3)
}
