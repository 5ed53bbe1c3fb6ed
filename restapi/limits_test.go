package restapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// measured is a standby of which quick looks are made, and the look they show.
func measured(t *testing.T) (*node, *cluster.Progress) {
	t.Helper()
	p := &cluster.Progress{At: present, Mode: cluster.ModeStandby, Replay: 0x4000100, Latest: 0x4000100, Streaming: true, Known: true}
	return newNode(t, standby(), func(o *Options) { o.Progress = func() *cluster.Progress { return p } }), p
}

func TestLagInTimeIsZeroWhenCaughtUpAndUnknownWithoutAStream(t *testing.T) {
	cases := []struct {
		name   string
		change func(*cluster.Progress)
		after  time.Duration
		query  string
		code   int
	}{
		{"caught up is no lag at all, however long ago the last commit", nil, time.Second, "lag_time=0", 200},
		{"little enough", func(p *cluster.Progress) { p.Behind = 3 * time.Second }, 0, "lag_time=3s", 200},
		{"too much", func(p *cluster.Progress) { p.Behind = 3 * time.Second }, 0, "lag_time=2999ms", 503},
		{"what was behind at the look still is", func(p *cluster.Progress) { p.Behind = 3 * time.Second }, time.Second, "lag_time=3.5s", 503},
		{"without a stream nobody knows", func(p *cluster.Progress) { p.Streaming = false }, 0, "lag_time=1h", 503},
		{"an old look says nothing", nil, progressAge + time.Millisecond, "lag_time=1h", 503},
		{"what nobody knows is too much", func(p *cluster.Progress) { p.Known = false }, 0, "lag_time=1h", 503},
		{"a number is seconds", func(p *cluster.Progress) { p.Behind = 3 * time.Second }, 0, "lag_time=3", 200},
		{"both limits hold", func(p *cluster.Progress) { p.Latest += 100 }, 0, "lag_time=3&lag=99", 503},
		{"the quick look's position counts", nil, 0, "min_lsn=0/4000100", 200},
		{"unless the status has a newer one", func(p *cluster.Progress) { p.At = instant(time.Minute) }, 0, "min_lsn=0/4000100", 503},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, p := measured(t)
			if c.change != nil {
				c.change(p)
			}
			n.advance(c.after)
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				if w := n.ask(method, "/replica?"+c.query, ""); w.Code != c.code {
					t.Errorf("%s /replica?%s: %d, want %d", method, c.query, w.Code, c.code)
				}
			}
		})
	}
}

// TestALaggingReplicaDoesNotFlap walks about a limit and counts the changes.
func TestALaggingReplicaDoesNotFlap(t *testing.T) {
	n, p := measured(t)
	changes, in := 0, true
	for _, lag := range []cluster.LSN{90, 110, 90, 110, 60, 90, 51, 100, 50, 99, 100, 101, 51} {
		p.Latest = p.Replay + lag
		if now := n.ask(http.MethodOptions, "/replica?lag=100", "").Code == 200; now != in {
			changes, in = changes+1, now
		}
		if code := n.ask(http.MethodOptions, "/replica?lag=1000", "").Code; code != 200 {
			t.Errorf("a lag of %d is too much for a limit of 1000, too: %d", lag, code)
		}
	}
	if changes != 3 || in {
		t.Errorf("%d changes, in rotation %v; want out at 110, in at 50, out at 101", changes, in)
	}
	p.Latest = p.Replay + 10
	n.ask(http.MethodOptions, "/replica?lag=100", "")
	p.Behind = 6 * time.Second
	for _, want := range []struct {
		behind time.Duration
		code   int
	}{{6 * time.Second, 503}, {3 * time.Second, 503}, {2500 * time.Millisecond, 200}, {5 * time.Second, 200}} {
		p.Behind = want.behind
		if code := n.ask(http.MethodOptions, "/replica?lag_time=5s", "").Code; code != want.code {
			t.Errorf("behind by %v: %d, want %d", want.behind, code, want.code)
		}
	}
}

func TestWhoeverAsksForThousandsOfLimitsCostsNoMemory(t *testing.T) {
	n, p := measured(t)
	p.Latest = p.Replay + 1<<20
	for i := range 20 * limitsKept {
		if code := n.ask(http.MethodOptions, fmt.Sprintf("/replica?lag=%d", i), "").Code; code != 503 {
			t.Fatalf("lag=%d: %d", i, code)
		}
	}
	if kept := n.limits.known.Load(); kept > limitsKept {
		t.Errorf("%d limits are remembered", kept)
	}
	if code := n.ask(http.MethodOptions, "/replica?lag=1GB", "").Code; code != 200 {
		t.Errorf("a limit that holds: %d", code)
	}
}
