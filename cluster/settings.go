package cluster

import (
	"fmt"
	"time"
)

// Settings is the dynamic configuration in force: what the key `config` says,
// defaults filled in.
type Settings struct {
	// TTL is the lease time T. Renewals go out every min(LoopWait, TTL/5).
	TTL time.Duration
	// LoopWait is the longest time between two looks of an idle agent.
	LoopWait time.Duration
	// RetryTimeout bounds one attempt on the store or the server.
	RetryTimeout time.Duration
	// MaximumLagOnFailover is how many bytes behind the last published
	// position a candidate may be; negative means no limit.
	MaximumLagOnFailover int64
	MaximumLagOnSyncnode int64
	CheckTimeline        bool
	MaxTimelinesHistory  int
	// PrimaryStartTimeout bounds crash recovery of a holder before it hands
	// over; 0 means at once.
	PrimaryStartTimeout time.Duration
	PrimaryStopTimeout  time.Duration
	// ProbeTimeout is how long every probe of a server or its disks must fail before
	// a primary is replaced; 0 means never.
	ProbeTimeout      time.Duration
	SynchronousMode   string
	SynchronousStrict bool
	SynchronousNodes  int
	FailsafeMode      bool
	// FastFailover has a primary of a strict synchronous mode replaced without waiting for
	// its lease when most members find its node gone. Elsewhere it means nothing.
	FastFailover bool
	// CommitGate has commits of an asynchronous cluster wait for a process that
	// confirms them only while the lease holds (SAFETY 4).
	CommitGate     bool
	Pause          bool
	MemberSlotsTTL time.Duration
	// Slots are permanent replication slots by name.
	Slots map[string]map[string]any
	// IgnoreSlots are matchers of slots pgkeeper leaves alone.
	IgnoreSlots []map[string]any
	PostgreSQL  PostgreSQLSettings
}

// PostgreSQLSettings is the dynamic configuration's `postgresql` section.
type PostgreSQLSettings struct {
	UsePgRewind  bool
	UseSlots     bool
	Parameters   map[string]string
	PgHBA        []string
	PgIdent      []string
	RecoveryConf map[string]string
}

// Defaults where a new cluster says nothing. Patroni's are 30, 10 and 10; ours
// may be lower because renewals do not wait for loop_wait.
const (
	DefaultTTL          = 10 * time.Second
	DefaultLoopWait     = 2 * time.Second
	DefaultRetryTimeout = 3 * time.Second
	DefaultProbeTimeout = 5 * time.Second
	// MinTTL is etcd's own floor at its default election timeout of 1 s:
	// ceil(1.5 x 1 s).
	MinTTL = 2 * time.Second
	// MaxTTL is the longest whose deadline the guard takes (guard.maxAhead), and a promise in failsafe lasts.
	MaxTTL = 10 * time.Minute
)

// DefaultSettings is the dynamic configuration of a cluster that says nothing.
func DefaultSettings() Settings {
	return Settings{
		TTL: DefaultTTL, LoopWait: DefaultLoopWait, RetryTimeout: DefaultRetryTimeout,
		MaximumLagOnFailover: 1 << 20, MaximumLagOnSyncnode: -1,
		PrimaryStartTimeout: 300 * time.Second,
		ProbeTimeout:        DefaultProbeTimeout,
		SynchronousMode:     "off", SynchronousNodes: 1, FastFailover: true,
		MemberSlotsTTL: 30 * time.Minute,
		PostgreSQL:     PostgreSQLSettings{UseSlots: true, UsePgRewind: true},
	}
}

// Synchronous reports whether commits are to wait for standbys.
func (s *Settings) Synchronous() bool {
	return s.SynchronousMode == SyncOn || s.SynchronousMode == SyncQuorum
}

// RenewEvery is the time between two renewals of a holder: min(loop_wait, T/5).
func (s *Settings) RenewEvery() time.Duration { return min(s.LoopWait, s.TTL/5) }

// KeepEvery is the time between two keepalives of a standby's member lease.
func (s *Settings) KeepEvery() time.Duration { return s.TTL / 3 }

// Attempt bounds one renewal attempt: min(retry_timeout, T/3).
func (s *Settings) Attempt() time.Duration { return min(s.RetryTimeout, s.TTL/3) }

// Margin is the time before the lease's end at which the guard stops the
// server: max(0.5 s, T/10, lastKill), at most T/2 (SAFETY 2).
func (s *Settings) Margin(lastKill time.Duration) time.Duration {
	return min(max(500*time.Millisecond, s.TTL/10, lastKill), s.TTL/2)
}

// CheckTiming refuses timings with which the deadline could not hold:
// 2 s <= T <= 10 min and T/5 + attempt + margin < T.
func (s *Settings) CheckTiming() error {
	if s.TTL < MinTTL {
		return fmt.Errorf("ttl is %s, but the least etcd can keep is %s: raise ttl", s.TTL, MinTTL)
	}
	if s.TTL > MaxTTL {
		return fmt.Errorf("ttl is %s, but a guard takes no deadline that far away, %s is the most: lower ttl", s.TTL, MaxTTL)
	}
	if s.LoopWait <= 0 || s.RetryTimeout <= 0 {
		return fmt.Errorf("loop_wait is %s and retry_timeout %s: both must be positive", s.LoopWait, s.RetryTimeout)
	}
	need := s.TTL/5 + s.Attempt() + s.Margin(0)
	if need >= s.TTL {
		return fmt.Errorf("ttl/5 (%s) + one attempt (%s) + margin (%s) = %s must be less than ttl (%s): raise ttl or lower retry_timeout",
			s.TTL/5, s.Attempt(), s.Margin(0), need, s.TTL)
	}
	return nil
}

// TimingWarning names timings that are safe but lose the primary in an ordinary
// etcd election; empty when there is nothing to say. election is etcd's election
// timeout (1 s by default).
func (s *Settings) TimingWarning(election time.Duration) string {
	left := s.TTL - s.Margin(0) - s.TTL/5
	if need := 2*election + 500*time.Millisecond; left < need {
		return fmt.Sprintf("ttl %s leaves %s to survive an etcd election that can take %s: the primary may be stopped by one; use a ttl of 5 s or more",
			s.TTL, left, need)
	}
	return ""
}
