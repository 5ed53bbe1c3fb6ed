//go:build chaos

package chaos

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestOnlyAsynchronousModeExceptsAFrozenAgent(t *testing.T) {
	frozen := fault{name: "frozen", frozen: true}
	for _, m := range modes {
		for name, c := range map[string]struct {
			early    bool // sent before the freeze, which lay before the newer term's acknowledgement
			violated bool
			late     int
		}{
			"sent while its agent was frozen": {violated: m != asynchronous},
			"under way when it was frozen":    {early: true, late: map[bool]int{true: 1}[m != asynchronous]},
		} {
			t.Run(string(m)+", "+name, func(t *testing.T) {
				p := tell()
				p.write(1, true)
				from := p.at + 15*1e6
				p.write(2, true)
				older := p.write(1, true)
				if c.early {
					older.call = from - 1
				}
				strikes := []strike{{fault: frozen, node: "pg1", during: span{from, p.at}}}
				found := judgeOrder(p.history, strikes, m)
				if violated := len(found.violations) > 0; violated != c.violated || found.late != c.late {
					t.Errorf("%+v, want a violation: %t, late: %d", found, c.violated, c.late)
				}
				if excepted := len(found.excepted) > 0; excepted != (m == asynchronous) {
					t.Errorf("excepted: %t in %s mode", excepted, m)
				}
			})
		}
	}
}

func TestAStrictSynchronousModeLosesNothing(t *testing.T) {
	// Timeline 1 ends at 250: operation 3, at 300, lies behind it, in the window that
	// asynchronous replication may lose.
	eras := []era{{1, 250}, {2, math.MaxInt64}}
	var all []settings
	for _, m := range modes {
		all = append(all, settings{Mode: m}, settings{Mode: m, Strict: true})
	}
	for _, s := range all {
		t.Run(s.name(), func(t *testing.T) {
			for _, acknowledged := range []bool{true, false} {
				p := tell()
				p.write(1, true)
				p.write(1, true)
				if lost := p.write(1, false); !acknowledged {
					p.history.end(lost, errCancelled)
				}
				p.write(2, true)
				r := &records{status: []published{{10, 260, 1}}, terms: map[int32]int64{2: 20}, handed: map[int64]int64{}}
				j := lossJudge{mode: s.Mode, loses: s.loses(), h: p.history, eras: eras, records: r, maxLag: 100}
				j.judge()
				if violated, want := len(j.violations) > 0, acknowledged && s.Strict && (s.Mode == synchronous || s.Mode == quorum); violated != want {
					t.Errorf("acknowledged: %t, violations %q, want one: %t", acknowledged, j.violations, want)
				}
				if warned := p.warned(); warned != map[bool]int{false: 1}[acknowledged] {
					t.Errorf("%d cancelled waits", warned)
				}
			}
		})
	}
}

func TestASuccessWithACancelledWaitIsNoAcknowledgement(t *testing.T) {
	for message, cancelled := range map[string]bool{
		"canceling wait for synchronous replication due to user request":                                         true,
		"canceling the wait for synchronous replication and terminating connection due to administrator command": true,
		"there is no transaction in progress":                                                                    false,
	} {
		c := client{}
		c.notice(nil, &pgconn.Notice{Severity: "WARNING", Message: message})
		if errors.Is(c.cancelled, errCancelled) != cancelled {
			t.Errorf("%q: %v", message, c.cancelled)
		}
	}
}

func TestSchedulesInTurnsHaveEveryMode(t *testing.T) {
	var seen []mode
	strict := map[bool]bool{}
	for seed := range uint64(16) {
		s, _ := draw(seed, catalog, modes)
		if !slices.Contains(seen, s.Settings.Mode) {
			seen = append(seen, s.Settings.Mode)
		}
		strict[s.Settings.Strict] = true
		for _, e := range s.Events {
			if f, err := faultNamed(e.Fault); err != nil || f.gate && s.Settings.Mode != gated {
				t.Errorf("seed %d: %s in %s mode", seed, e.Fault, s.Settings.Mode)
			}
		}
	}
	if len(seen) != len(modes) || len(strict) != 2 {
		t.Errorf("16 seeds have modes %v, strict: %v", seen, strict)
	}
	only, err := modesNamed([]string{"quorum"})
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := draw(2, catalog, only); s.Settings.Mode != quorum {
		t.Errorf("quorum was asked for, %s drawn", s.Settings.Mode)
	}
	if _, err := modesNamed([]string{"half"}); err == nil {
		t.Error("an unknown mode is taken")
	}
}

func TestATombstoneOfARunningServerIsFound(t *testing.T) {
	dir := t.TempDir()
	if found := grave("pg1", dir); found != "" {
		t.Errorf("none is there, and %q", found)
	}
	if err := os.WriteFile(filepath.Join(dir, "tombstone"), []byte(`{"kind":"rewind"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := grave("pg1", dir); !strings.Contains(found, "rewind") {
		t.Errorf("%q, want what the tombstone is of", found)
	}
}
