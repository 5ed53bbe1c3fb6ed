package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
)

// timed is a guard that is told its deadline.
type timed struct {
	Guard
	term   int64
	at     time.Duration
	refuse error
}

func (g *timed) Renewed(_ context.Context, term int64, _, at, _ time.Duration) error {
	g.term, g.at = term, at
	return g.refuse
}

type timedLink struct {
	Link
	g *timed
}

func (l timedLink) Guard() Guard { return l.g }

// TestTheGuardKnowsOfAShorterLeaseBeforeTheStoreDoes: candidates go by the T that the
// beat names. A worker whose call wrote a shorter one, and which is frozen before the
// answer, must have left its guard with a deadline that is no later.
func TestTheGuardKnowsOfAShorterLeaseBeforeTheStoreDoes(t *testing.T) {
	settings := cluster.Settings{TTL: 5 * time.Second}
	for _, c := range []struct {
		name    string
		do      OnLease
		ahead   time.Duration // of the guard's deadline
		told    int64
		refuse  error
		outcome Outcome
	}{
		{"a regrant", OnLease{Action: election.Inherit{Term: 60}, Term: 60}, 25 * time.Second, 60, nil, Failed},
		{"a worker that inherits", OnLease{Action: election.Inherit{Term: 60}}, 25 * time.Second, 60, nil, LeaseGone},
		{"a renewal", OnLease{Action: election.Renew{}, Term: 60}, 25 * time.Second, 60, nil, Refused},
		{"a renewal like any other", OnLease{Action: election.Renew{}, Term: 60}, 3 * time.Second, 0, nil, Refused},
		{"an acquisition, before which nothing runs", OnLease{Action: election.Acquire{}}, 25 * time.Second, 0, nil, LeaseGone},
		{"a guard that does not take it", OnLease{Action: election.Renew{}, Term: 60}, 25 * time.Second, 60, errors.New("it broke"), Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &timed{refuse: c.refuse}
			now := 1000 * second
			n := NewNode(Parts{Link: timedLink{g: g}, Clock: &turning{now: now}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
			c.do.Settings, c.do.Margin, c.do.Deadline = settings, 500*time.Millisecond, now.Add(c.ahead)
			done, _ := n.onLease(t.Context(), c.do).(LeaseDone)
			if g.term != c.told || done.Outcome != c.outcome {
				t.Errorf("the guard was told of term %d, outcome %d (%s); want %d and %d", g.term, done.Outcome, done.Err, c.told, c.outcome)
			}
			if left := cluster.Instant(g.at).Sub(now); c.told != 0 && left != 4500*time.Millisecond {
				t.Errorf("its deadline is %s ahead, want T less the margin", left)
			}
		})
	}
}

// TestAShorterLeaseIsLivedByAtOnce: from the moment it is told, and until the key lies
// on one of another length; a call that came too late may still name it.
func TestAShorterLeaseIsLivedByAtOnce(t *testing.T) {
	r := newRig(t)
	r.primary() // at 5 s
	ttl := func(seconds string) {
		r.view.Config = &cluster.Config{Raw: []byte(`{"ttl":` + seconds + `}`), ModRevision: r.view.Config.ModRevision + 1}
		r.see()
	}
	ttl("2")
	if got := r.loop.obs.Settings.TTL; got != 2*time.Second {
		t.Errorf("T is %s, want the 2 s that candidates may know of", got)
	}
	if left := r.loop.obs.Guard.Deadline.Sub(r.now); left > 2*time.Second {
		t.Errorf("it believes in %s more", left)
	}
	r.step(LeaseDone{Action: election.Inherit{Term: 61}, Outcome: Unknown})
	ttl("5")
	if got := r.loop.obs.Settings.TTL; got != 2*time.Second {
		t.Errorf("T is %s, want 2 s while the call that names it may come late", got)
	}
	ttl("9")
	if got := r.loop.obs.Settings.TTL; got != 2*time.Second {
		t.Errorf("T is %s, want no longer one before it is granted", got)
	}
}
