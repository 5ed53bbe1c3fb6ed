package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// program is what runs beside a cluster: in a process group of its own, and never
// longer than the process that started it.
type program struct {
	cmd    *exec.Cmd
	log    string
	end    syscall.Signal
	exited chan struct{}
}

// find is the program of that name. A plain user's PATH may lack the folder of daemons.
func find(name string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s %w: script/install-deps test installs it", name, ErrNotInstalled)
}

// ErrNotInstalled says that a program of the distribution is not there.
var ErrNotInstalled = errors.New("is not installed")

// startProgram starts it from a thread that lives on: its end would end the program.
// What it says goes to the log; end is the signal that it ends well by.
func startProgram(cmd *exec.Cmd, log string, end syscall.Signal) (*program, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, end
	p := &program{cmd: cmd, log: log, end: end, exited: make(chan struct{})}
	started := make(chan error, 1)
	go runLocked(cmd, started, p.exited)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// said is what it wrote.
func (p *program) said() string {
	if p == nil {
		return ""
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stop ends it, by force when it takes longer than some seconds. It may be repeated.
func (p *program) stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(p.end); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.cmd.Path, err)
	}
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	}
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // with what it started
	<-p.exited
	return errors.Join(err, fmt.Errorf("%s did not end by %v", p.cmd.Path, p.end))
}
