//go:build bench

package bench

import (
	"context"
	"errors"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
)

// overlapTrial hits the primary's agent in one of all ways, in turn, and looks whether two servers took writes at once.
func (s *session) overlapTrial(ctx context.Context, number int) (report.Trial, error) {
	leader, err := s.writing(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	hits := leader.hits()
	return s.hitTrial(ctx, hits[(number-1)%len(hits)], leader)
}

// probeEvery is how often each server is tried at most: chaos does the same.
const probeEvery = 10 * time.Millisecond

// hitTrial hits an agent, watches every server meanwhile, and looks for what is lost.
func (s *session) hitTrial(ctx context.Context, h hit, leader member) (report.Trial, error) {
	probes, err := s.programs.startWriter(dsn(sqlHosts(s.members())...), "-each", "-every", max(s.options.every, probeEvery).String())
	if err != nil {
		return report.Trial{}, err
	}
	t, err := s.overlapOf(ctx, h, leader, probes)
	err = errors.Join(err, probes.stop())
	if err != nil {
		return t, err
	}
	return t, s.lost(ctx, &t)
}

func (s *session) overlapOf(ctx context.Context, h hit, leader member, probes *writer) (report.Trial, error) {
	t := report.Trial{Case: h.what}
	if err := s.steady(ctx, s.direct); err != nil {
		return t, err
	}
	at := time.Now()
	if err := h.do(); err != nil {
		return t, err
	}
	// A frozen process is let go on after 3 x ttl; a killed one is waited out that long too.
	pause(ctx, 3*s.ttl())
	err := h.undo()
	if err == nil && !leader.running() {
		err = leader.start()
	}
	if err != nil {
		return t, err
	}
	_, err = healthy(ctx, s.system, time.Minute)
	o, asked := probes.overlap(at)
	r, said := s.direct.report(at)
	s.keepLogs(at, s.system)
	t.Value, t.Detail = o.Overlap, detail(r)
	t.Detail["writable"] = o.Writable
	return t, errors.Join(err, asked, said)
}
