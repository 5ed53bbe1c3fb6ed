package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/agent/probe"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// prober keeps the probe, a process of its own, and gives the loop what it says. A probe
// that says nothing is believed nothing: there is no conclusion from its silence.
type prober struct {
	// program is this one, which may have been replaced on disk since it was started.
	program string
	argv    []string
	// spec is what to probe now; false for nothing. changed has something to receive when
	// it may be another.
	spec    func() (probe.Spec, postgres.Login, bool)
	changed <-chan struct{}
	post    func(Event)
	log     *slog.Logger
}

const (
	// probeAgain is between two starts of a probe, and between two looks whether there is
	// something to probe.
	probeAgain = time.Second
	// longestLine bounds what a probe says at once.
	longestLine = 64 << 10
)

// run keeps a probe running until ctx ends.
func (p *prober) run(ctx context.Context) {
	for ctx.Err() == nil {
		if spec, login, wanted := p.spec(); wanted {
			if err := p.once(ctx, spec, login); err != nil && ctx.Err() == nil {
				p.log.Warn("probe ended", "error", err.Error())
			}
			p.post(ProbeLost{})
		}
		clock.Sleep(ctx.Done(), probeAgain)
	}
}

// once runs one probe until it ends, or is to probe something else.
func (p *prober) once(ctx context.Context, spec probe.Spec, login postgres.Login) error {
	var watch sync.WaitGroup
	defer watch.Wait() // it would take a signal that the next one needs
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out, err := p.start(ctx, login)
	if err != nil {
		return fmt.Errorf("start the probe: %w", err)
	}
	defer out.Close()
	defer in.Close() // its end ends the probe
	first, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if _, err := in.Write(append(first, '\n')); err != nil {
		return fmt.Errorf("tell the probe what to probe: %w", err)
	}
	watch.Go(func() {
		defer out.Close() // ends the reading below
		for now, _, wanted := p.spec(); wanted && now == spec; now, _, wanted = p.spec() {
			select {
			case <-p.changed:
			case <-ctx.Done():
				return
			}
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var l probe.Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("read what the probe says: %w", err)
		}
		p.post(Probed(l))
	}
	if now, _, wanted := p.spec(); !wanted || now != spec || errors.Is(lines.Err(), os.ErrClosed) {
		return nil
	}
	return errors.Join(errors.New("it said no more"), lines.Err())
}

// start starts the process, as the server's user. Nobody waits for its end, which may be
// as long in coming as the write in which it hangs.
func (p *prober) start(ctx context.Context, login postgres.Login) (in io.WriteCloser, out io.ReadCloser, err error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.program)
	cmd.Args, cmd.Dir, cmd.Stderr = p.argv, "/", os.Stderr // not in the data directory, or it would count as a process of the server
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=50", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: login.UID, Gid: login.GID, Groups: login.Groups}
	}
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stdout = write
	err = errors.Join(cmd.Start(), write.Close())
	if err != nil {
		return nil, nil, errors.Join(err, read.Close())
	}
	go func() { _ = cmd.Wait() }() // reaps it
	return in, read, nil
}

// probing is what of this worker says what its probe is to probe.
type probing struct {
	is       bool
	patience time.Duration
	local    *config.Config
}

// tellProber is told of every step, and tells the prober when that has changed.
func (w *worker) tellProber(s *cluster.Status) {
	if now := (probing{probed(s), s.Settings.ProbeTimeout, w.node.local.Load()}); now != w.probing {
		w.probing = now
		notify(w.reprobe)
	}
}

// probed reports whether there is a server to probe, as it was seen last.
func probed(s *cluster.Status) bool {
	mode := s.Node.Value.Mode
	return s.Settings.ProbeTimeout > 0 && mode != cluster.ModeUnknown && mode != cluster.ModeStopped
}

// probeSpec is what this worker's probe is to probe: nothing without a server of ours, for
// it would write into data that may be another cluster's.
func (w *worker) probeSpec() (probe.Spec, postgres.Login, bool) {
	status := w.driver.Status()
	if status == nil || !probed(status) {
		return probe.Spec{}, postgres.Login{}, false
	}
	login := w.node.pg.GateLogin()
	local := w.node.local.Load()
	return probe.Spec{DataDir: local.PostgreSQL.DataDir, SocketDir: login.SocketDir, Port: login.Port, User: login.Username, Password: login.Password,
		Database: local.PostgreSQL.Database, Patience: status.Settings.ProbeTimeout}, login, true
}
