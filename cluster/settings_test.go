package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestTiming: for every ttl that may be configured there is time to renew, to fail
// once, and to be stopped (SAFETY 2, Deadline).
func TestTiming(t *testing.T) {
	const ms = time.Millisecond
	cases := []struct {
		ttl, loop, retry             time.Duration
		renew, attempt, keep, margin time.Duration
		warns                        bool
	}{
		{2 * time.Second, 2 * time.Second, 3 * time.Second, 400 * ms, 2 * time.Second / 3, 2 * time.Second / 3, 500 * ms, true},
		{3 * time.Second, 2 * time.Second, 3 * time.Second, 600 * ms, time.Second, time.Second, 500 * ms, true},
		{4 * time.Second, 2 * time.Second, 3 * time.Second, 800 * ms, 4 * time.Second / 3, 4 * time.Second / 3, 500 * ms, false},
		{5 * time.Second, 2 * time.Second, 3 * time.Second, time.Second, 5 * time.Second / 3, 5 * time.Second / 3, 500 * ms, false},
		{10 * time.Second, 2 * time.Second, 3 * time.Second, 2 * time.Second, 3 * time.Second, 10 * time.Second / 3, time.Second, false},
		{20 * time.Second, time.Second, 3 * time.Second, time.Second, 3 * time.Second, 20 * time.Second / 3, 2 * time.Second, false},
		{30 * time.Second, 10 * time.Second, 10 * time.Second, 6 * time.Second, 10 * time.Second, 10 * time.Second, 3 * time.Second, false},
	}
	for _, c := range cases {
		s := Settings{TTL: c.ttl, LoopWait: c.loop, RetryTimeout: c.retry}
		if s.RenewEvery() != c.renew || s.Attempt() != c.attempt || s.KeepEvery() != c.keep || s.Margin(0) != c.margin {
			t.Errorf("ttl %s: renew every %s, attempt %s, keep every %s, margin %s", c.ttl, s.RenewEvery(), s.Attempt(), s.KeepEvery(), s.Margin(0))
		}
		if err := s.CheckTiming(); err != nil {
			t.Errorf("ttl %s: %v", c.ttl, err)
		}
		if warning := s.TimingWarning(time.Second); (warning != "") != c.warns {
			t.Errorf("ttl %s warns %q", c.ttl, warning)
		}
	}
}

// TestEveryTTLHolds: the inequality holds for every ttl from the least on, since
// an attempt is bounded by a third of it and the margin by half.
func TestEveryTTLHolds(t *testing.T) {
	too := DefaultSettings()
	too.TTL = MaxTTL + time.Second
	if err := too.CheckTiming(); err == nil || !strings.Contains(err.Error(), "lower ttl") {
		t.Errorf("ttl %s, with a deadline that the guard does not take: %v", too.TTL, err)
	}
	for ttl := MinTTL; ttl <= 2*time.Minute; ttl += 250 * time.Millisecond {
		s := Settings{TTL: ttl, LoopWait: DefaultLoopWait, RetryTimeout: DefaultRetryTimeout}
		if err := s.CheckTiming(); err != nil {
			t.Error(err)
		}
		if left := ttl - s.Margin(time.Hour); left != ttl/2 {
			t.Errorf("ttl %s: a slow kill leaves %s, not half", ttl, left)
		}
	}
}

func TestMarginKnowsTheLastKill(t *testing.T) {
	s := Settings{TTL: 10 * time.Second}
	for last, want := range map[time.Duration]time.Duration{
		0: time.Second, 800 * time.Millisecond: time.Second, 2 * time.Second: 2 * time.Second, time.Minute: 5 * time.Second,
	} {
		if got := s.Margin(last); got != want {
			t.Errorf("a kill that took %s leaves a margin of %s, want %s", last, got, want)
		}
	}
}

func TestTimingThatCannotHoldIsRefused(t *testing.T) {
	cases := []struct {
		s    Settings
		want string
	}{
		{Settings{TTL: time.Second, LoopWait: time.Second, RetryTimeout: time.Second}, "raise ttl"},
		{Settings{TTL: 10 * time.Second, RetryTimeout: time.Second}, "must be positive"},
		{Settings{TTL: 10 * time.Second, LoopWait: time.Second}, "must be positive"},
		{Settings{TTL: 10 * time.Second, LoopWait: -1, RetryTimeout: time.Second}, "must be positive"},
	}
	for _, c := range cases {
		if err := c.s.CheckTiming(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s, %s: error %v, want one that says %q", c.s.TTL, c.s.LoopWait, c.s.RetryTimeout, err, c.want)
		}
	}
}

func TestDefaultsHold(t *testing.T) {
	s := DefaultSettings()
	if err := s.CheckTiming(); err != nil {
		t.Error(err)
	}
	if w := s.TimingWarning(time.Second); w != "" {
		t.Error(w)
	}
	if s.Pause || s.MaximumLagOnFailover != 1<<20 || !s.PostgreSQL.UseSlots || !s.PostgreSQL.UsePgRewind {
		t.Errorf("unexpected defaults: %+v", s)
	}
}
