package ctl

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// SwitchoverOptions say from whom, to whom and when; what is empty is asked, or
// left to the cluster with Force.
type SwitchoverOptions struct {
	Leader, Candidate string
	// Scheduled is ISO 8601 with a zone; empty and "now" mean now.
	Scheduled string
}

// Switchover moves the primary to another member while both ends are alive.
func (o *Operator) Switchover(ctx context.Context, options SwitchoverOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	wish, err := o.switchoverWish(overview, options)
	if err != nil {
		return err
	}
	if err := o.showBefore(overview); err != nil {
		return err
	}
	if err := o.Console.Confirm(switchoverQuestion(overview, wish)); err != nil {
		return err
	}
	return o.move(ctx, overview, wish)
}

func (o *Operator) switchoverWish(v Overview, options SwitchoverOptions) (cluster.Failover, error) {
	wish := cluster.Failover{ID: newID()}
	if v.Leader == "" {
		return wish, fmt.Errorf("%w: cluster %s has no leader to switch from: %s", ErrRefused, v.Scope, v.NoLeader)
	}
	err := notPaused(v, "switchover")
	if err != nil {
		return wish, err
	}
	if wish.Leader = options.Leader; wish.Leader == "" {
		if wish.Leader, err = o.Console.Ask("Primary", v.Leader); err != nil {
			return wish, err
		}
	}
	if wish.Leader != v.Leader {
		return wish, fmt.Errorf("%w: %s is not the leader of cluster %s, %s is", ErrRefused, wish.Leader, v.Scope, v.Leader)
	}
	if wish.Member, err = o.candidate(v, options.Candidate, "; empty for the best"); err != nil {
		return wish, err
	}
	wish.ScheduledAt, err = o.when(options.Scheduled)
	return wish, err
}

// notPaused refuses what no agent does in a pause, where without a leader nobody would answer. Patroni's leaders do it.
func notPaused(v Overview, what string) error {
	if leader, known := v.Member(v.Leader); !v.Paused || known && !leader.Keeper {
		return nil
	}
	return fmt.Errorf("%w: no %s while cluster %s is paused: pgkeeper resume, and then ask again", ErrRefused, what, v.Scope)
}

// candidate checks or asks for the new primary; empty says in the question what Enter alone means, if it means anything.
func (o *Operator) candidate(v Overview, name, empty string) (string, error) {
	candidates := candidatesOf(v)
	if len(candidates) == 0 {
		return "", fmt.Errorf("%w: no candidates found: cluster %s has no running member besides the leader that may become primary", ErrRefused, v.Scope)
	}
	var err error
	if name == "" {
		if name, err = o.Console.Ask("Candidate ("+strings.Join(candidates, ", ")+empty+")", ""); err != nil || name == "" {
			return name, err
		}
	}
	m, found := v.Member(name)
	switch {
	case name == v.Leader:
		return "", fmt.Errorf("%w: %s is the leader already: name another candidate (%s)", ErrRefused, name, list(candidates))
	case !found:
		return "", fmt.Errorf("%w: no member %s in cluster %s: candidates are %s", ErrRefused, name, v.Scope, list(candidates))
	case m.Tags.NoFailover():
		return "", fmt.Errorf("%w: %s has the tag nofailover: candidates are %s", ErrRefused, name, list(candidates))
	}
	return name, nil
}

func candidatesOf(v Overview) []string {
	var names []string
	for _, m := range v.Members {
		if !m.Leads() && !m.Tags.NoFailover() {
			names = append(names, m.Name)
		}
	}
	return names
}

// when checks a scheduled time: ISO 8601 with a zone, and in the future.
func (o *Operator) when(at string) (string, error) {
	if at == "" || at == "now" {
		return "", nil
	}
	parsed, err := ParseTime(at)
	if err != nil {
		return "", err
	}
	if !parsed.After(o.Clock.Now()) {
		return "", fmt.Errorf("%w: %s is in the past", ErrRefused, at)
	}
	return parsed.Format(time.RFC3339), nil
}

// ParseTime reads ISO 8601 with a zone; without one nobody knows which moment is
// meant when operator and servers stand in different places.
func ParseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time with a zone: write it as 2026-12-31T23:00:00+01:00", text)
}

func switchoverQuestion(v Overview, wish cluster.Failover) string {
	question := fmt.Sprintf("Switch cluster %s over from %s to %s", v.Scope, wish.Leader, cmp.Or(wish.Member, "the best candidate"))
	if wish.ScheduledAt != "" {
		question += " at " + wish.ScheduledAt
	}
	return question + "?"
}

// showBefore shows whom the question is about.
func (o *Operator) showBefore(v Overview) error {
	if o.Console.Force || o.Console.Format != FormatPretty {
		return nil
	}
	_, err := fmt.Fprint(o.Console.Err, Topology(v).Pretty(o.Console.Style))
	return err
}

// FailoverOptions name the member that must become primary.
type FailoverOptions struct{ Candidate string }

// Failover promotes a member although there may be no healthy leader.
func (o *Operator) Failover(ctx context.Context, options FailoverOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	if err := notPaused(overview, "failover"); err != nil {
		return err
	}
	name, err := o.candidate(overview, options.Candidate, "")
	if err != nil {
		return err
	}
	if name == "" {
		return fmt.Errorf("%w: a failover goes to a named member only: give --candidate (%s)", ErrRefused, list(candidatesOf(overview)))
	}
	if err := o.showBefore(overview); err != nil {
		return err
	}
	if err := o.Console.Confirm(failoverQuestion(overview, name)); err != nil {
		return err
	}
	// Only --force vouches for the old primary's death, and gives up what synchronous commits rest on: a yes to the
	// question allows what an asynchronous failover loses.
	return o.move(ctx, overview, cluster.Failover{ID: newID(), Member: name, Force: o.Console.Force})
}

func failoverQuestion(v Overview, name string) string {
	m, _ := v.Member(name)
	loss := "Transactions it has not received are lost"
	if m.ReceiveLag != nil && *m.ReceiveLag > 0 {
		loss = fmt.Sprintf("It is %s behind: those transactions are lost", amount(*m.ReceiveLag))
	}
	if slices.ContainsFunc(v.Members, func(x Member) bool { return x.Role == RoleSyncStandby || x.Role == RoleQuorumStandby }) && m.Role == RoleReplica {
		loss = name + " is no synchronous standby. " + loss
	}
	if v.Leader != "" {
		return fmt.Sprintf("%s. %s leads now; a switchover would lose nothing. Fail over to %s, demoting %s?", loss, v.Leader, name, v.Leader)
	}
	return fmt.Sprintf("%s, and an old primary that still runs would go on beside it. Is the old primary certainly dead? Fail over to %s?", loss, name)
}

// amount is Bytes with its unit also where that is bytes.
func amount(n uint64) string {
	text := Bytes(n)
	if !strings.Contains(text, " ") {
		text += " bytes"
	}
	return text
}

// move sends the wish, shows how far it is, and turns its result into nil or
// one line.
func (o *Operator) move(ctx context.Context, before Overview, wish cluster.Failover) error {
	bounded, cancel := context.WithTimeout(ctx, 2*before.TTL+30*time.Second)
	defer cancel()
	stop := o.follow(bounded)
	result, err := o.Cluster.Failover(bounded, wish)
	stop()
	if err != nil {
		return err
	}
	return o.finish(result, wish)
}

// finish tells the result, in the words of the REST API; it is nil only when it
// happened or, for what was scheduled, will.
func (o *Operator) finish(r cluster.Result, wish cluster.Failover) error {
	noun, past := "switchover", "switched"
	if wish.Leader == "" {
		noun, past = "failover", "failed"
	}
	to := cmp.Or(r.NewLeader, wish.Member)
	switch {
	case r.Done && (wish.Member == "" || to == wish.Member):
		o.Console.Say("Successfully %s over to %q", past, to)
	case r.Done:
		o.Console.Say("%s%s over to %q instead of %q", strings.ToUpper(past[:1]), past[1:], to, wish.Member)
	case r.Accepted:
		o.Console.Say("Switchover scheduled at %s", wish.ScheduledAt)
	case r.Refused:
		return fmt.Errorf("%w: %s", ErrRefused, r.Message)
	default:
		return fmt.Errorf("the %s failed: %s", noun, cmp.Or(r.Message, "no reason was given; look with pgkeeper list"))
	}
	return nil
}

// follow reports the phases of a switchover until stop is called.
func (o *Operator) follow(ctx context.Context) (stop func()) {
	if !o.Console.Progress {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The answer that matters is the result's: whatever ends this look, it
		// is not reported.
		_ = o.until(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
			v, err := o.Cluster.Overview(ctx)
			if err != nil || v.Switchover == "" {
				return false, "", nil
			}
			return false, "switchover " + v.Switchover, nil
		})
	}()
	return func() { cancel(); <-done }
}

// newID names a request, so that its asker finds its result.
func newID() string {
	var raw [8]byte
	rand.Read(raw[:]) //nolint:errcheck // never fails since Go 1.24
	return hex.EncodeToString(raw[:])
}
