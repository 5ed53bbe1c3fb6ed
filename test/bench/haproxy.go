//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
)

// routed is HAProxy in front of a cluster, and a client behind it.
type routed struct {
	dir    string
	cmd    *exec.Cmd
	client *writer
}

func (s *session) route(ctx context.Context) (*routed, error) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, errors.New("haproxy is not installed: script/install-deps bench installs it")
	}
	r := &routed{}
	if r.dir, err = os.MkdirTemp("", "pgk-haproxy-"); err != nil { //nolint:usetesting // removed with HAProxy
		return nil, err
	}
	config, writes, err := s.proxy(r.dir)
	if err != nil {
		return r, err
	}
	r.cmd = exec.Command(program, "-db", "-f", config) //nolint:noctx // ended by name
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(r.dir + "/log")
	if err != nil {
		return r, err
	}
	defer log.Close()
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		return r, fmt.Errorf("start haproxy: %w", err)
	}
	err = answers(ctx, "writes through HAProxy", dsn(writes))
	if err != nil {
		return r, err
	}
	r.client, err = s.programs.startWriter(dsn(writes))
	return r, err
}

func (r *routed) stop() error {
	var all error
	if r.client != nil {
		all = r.client.stop()
	}
	if r.cmd != nil && r.cmd.Process != nil {
		all = errors.Join(all, r.cmd.Process.Kill())
		_ = r.cmd.Wait() // killed
	}
	return errors.Join(all, os.RemoveAll(r.dir))
}

// routedTrial measures a direct client and one through HAProxy in the same fault.
func (s *session) routedTrial(ctx context.Context, row report.Row) (report.Trial, error) {
	f := faults()[strings.TrimPrefix(row.ID, "haproxy_")]
	if err := s.write(); err != nil {
		return report.Trial{}, err
	}
	if s.routed == nil {
		var err error
		if s.routed, err = s.route(ctx); err != nil {
			return report.Trial{}, err
		}
	}
	all, _, err := s.gap(ctx, f, s.direct, s.routed.client)
	if err != nil {
		return report.Trial{}, err
	}
	t := beyondDirect(all[0], all[1])
	return t, s.lost(ctx, &t)
}

// beyondDirect is a trial whose value is how much longer one client's gap is than that of one that looks for the new
// primary itself.
func beyondDirect(direct, through writerReport) report.Trial {
	t := report.Trial{Value: max(0, through.Gap-direct.Gap), Detail: detail(through)}
	t.Detail["direct"] = direct.Gap
	if direct.behind() {
		t.Detail[isBehind] = true
	}
	return t
}
