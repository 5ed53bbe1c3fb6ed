//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// split is Pgpool-II with the rendered configuration on HAProxy's two endpoints, and a client behind it.
type split struct {
	front  *testbed.Front
	pgpool *testbed.Pgpool
	client *writer
}

// throughPgpool starts them, once for a cluster.
func (s *session) throughPgpool(ctx context.Context) (*split, error) {
	k, ok := s.system.(*keeper)
	if !ok {
		return nil, errors.New("only pgkeeper renders a configuration of Pgpool-II")
	}
	leader, err := s.writing(ctx)
	if err != nil || s.split != nil {
		return s.split, err
	}
	err = errors.Join(
		exec1(ctx, adminDSN(leader, "postgres"), "create role "+testbed.PgpoolRole+" login password '"+secret+"'"),
		exec1(ctx, adminDSN(leader, "postgres"), "alter role "+clientName+" password '"+secret+"'"))
	if err != nil {
		return nil, err
	}
	s.split = &split{} // from here on the session ends it
	if s.split.front, err = k.bed.StartFront(); err != nil {
		return nil, err
	}
	if s.split.pgpool, err = k.bed.StartPgpool(ctx, s.split.front, map[string]string{testbed.PgpoolRole: secret, clientName: secret}); err != nil {
		return nil, err
	}
	through := strings.Replace(dsn(s.split.pgpool.Address()), clientName+"@", clientName+":"+secret+"@", 1)
	err = answers(ctx, "writes through Pgpool-II", through)
	if err == nil {
		s.split.client, err = s.programs.startWriter(through)
	}
	return s.split, err
}

func (p *split) stop() (all error) {
	if p.client != nil {
		all = p.client.stop()
	}
	if p.pgpool != nil {
		all = errors.Join(all, p.pgpool.Close())
	}
	if p.front != nil {
		all = errors.Join(all, p.front.Close())
	}
	return all
}

// pgpoolMinute is how long a trial of pgpool_switchovers lasts.
const pgpoolMinute = time.Minute

// refusedByAStandby is the SQLSTATE of a write that reached a standby.
const refusedByAStandby = "SQLSTATE 25006"

// pgpoolSwitchoversTrial switches over as often as it goes while a client writes through Pgpool-II, and gives the
// longest gap, the new connection included. A write that a standby refused is an error of the trial.
func (s *session) pgpoolSwitchoversTrial(ctx context.Context) (report.Trial, error) {
	p, err := s.throughPgpool(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	t := report.Trial{Detail: map[string]any{}}
	var gaps, beyond []float64
	var trouble []any
	for began := time.Now(); time.Since(began) < pgpoolMinute-5*time.Second; {
		all, _, err := s.gap(ctx, faults()["switchover"], s.direct, p.client)
		if err != nil {
			return t, fmt.Errorf("%w after %d switchovers: %s", err, len(gaps), p.pgpool.Log())
		}
		direct, through := all[0], all[1]
		gaps, beyond = append(gaps, through.Gap), append(beyond, through.Gap-direct.Gap)
		t.Value = max(t.Value, through.Gap)
		trouble = append(trouble, detail(through)["trouble"])
		for _, what := range through.Trouble {
			if strings.Contains(what.Error, refusedByAStandby) {
				return t, fmt.Errorf("switchover %d: %d writes reached a standby: %s", len(gaps), what.Count, what.Error)
			}
		}
	}
	t.Detail["gaps"], t.Detail["beyond direct"], t.Detail["trouble"] = gaps, beyond, trouble
	return t, s.lost(ctx, &t)
}
