package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// node is one member: a folder, two ports, and the processes of its agent.
type node struct {
	name             string
	dir              string
	sqlPort, apiPort int

	command *exec.Cmd
	// exited is closed when the agent's main process has ended.
	exited chan struct{}
	// dead tells that the tour has killed it, missed since when its agent is
	// gone without the tour's doing.
	dead   bool
	missed time.Time
}

func (n *node) api() string { return fmt.Sprintf("http://127.0.0.1:%d", n.apiPort) }

func (n *node) configPath() string { return filepath.Join(n.dir, "pgkeeper.yml") }

func (n *node) agentLog() string { return filepath.Join(n.dir, "agent.log") }

// start runs `pgkeeper agent` for the node, as a user would, in a process group
// of its own: Ctrl-C is for the demo. life is the read end of a pipe whose end
// of file stops everything.
func (n *node) start(program string, env []string, life *os.File) error {
	log, err := os.OpenFile(n.agentLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", n.name, err)
	}
	defer log.Close()
	n.command = exec.Command(program, "agent", "--config", n.configPath(), "--until-parent-exits") //nolint:noctx // ends by its pipe
	n.command.Env, n.command.Stdout, n.command.Stderr = env, log, log
	n.command.ExtraFiles = []*os.File{life}
	n.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.command.Start(); err != nil {
		return fmt.Errorf("start the agent of %s: %w", n.name, err)
	}
	exited := make(chan struct{})
	n.exited, n.dead = exited, false
	go func(c *exec.Cmd) {
		defer close(exited)
		_ = c.Wait() // how it ended stands in its log
	}(n.command)
	return nil
}

// running reports whether the agent was started and has not ended.
func (n *node) running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// kill ends every process of the node at once, as a power cut would, and returns
// how many there were. The agent's own go first, so that none of them can still
// react to the server's death.
func (n *node) kill() int {
	n.dead = true
	if n.command != nil && n.running() {
		_ = syscall.Kill(n.command.Process.Pid, syscall.SIGKILL)
	}
	return killAll(n.dir, func() { time.Sleep(2 * time.Millisecond) })
}

// answers asks a health check of the node's REST API; 0 when nobody answers.
func (n *node) answers(ctx context.Context, client *http.Client, path string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.api()+path, nil)
	if err != nil {
		return 0
	}
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // so that the connection can be used again
	return response.StatusCode
}

// trouble is an error when the agent ended although nobody asked it to.
func (n *node) trouble() error {
	if n.exited == nil || n.dead || n.running() {
		return nil
	}
	return errors.New("the agent of " + n.name + " has ended: " + lastLine(n.agentLog()))
}

// lastWords are the last lines of the node's log: the agent's own, and apart from
// them the few last of the server, which would drown them.
func (n *node) lastWords(agent, server int) []string {
	var own, others []string
	for _, line := range tail(n.agentLog(), 5000) {
		if strings.HasPrefix(line, "time=") || strings.HasPrefix(line, "Error:") || strings.HasPrefix(line, "error:") {
			own = append(own, line)
		} else {
			others = append(others, line)
		}
	}
	return append(own[max(0, len(own)-agent):], others[max(0, len(others)-server):]...)
}

// tail is the last lines of a file.
func tail(path string, count int) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-count):]
}

func lastLine(path string) string {
	if lines := tail(path, 1); len(lines) > 0 {
		return lines[0]
	}
	return "its log is empty"
}
