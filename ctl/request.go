package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Selection picks the members a request goes to.
type Selection struct {
	// Members by name; empty means all with Role.
	Members []string
	Role    string
	// Any picks one of them.
	Any bool
	// Pending keeps those that wait for a restart.
	Pending bool
}

// Select finds the members, standbys first: a leader goes last, so that one
// restart of everything does not begin with an outage.
func Select(v Overview, s Selection) ([]Member, error) {
	for _, name := range s.Members {
		if _, ok := v.Member(name); !ok {
			return nil, fmt.Errorf("%w: no member %s in cluster %s: there is %s", ErrRefused, name, v.Scope, list(v.Names()))
		}
	}
	var chosen []Member
	for _, m := range v.Members {
		named := len(s.Members) == 0 || slices.Contains(s.Members, m.Name)
		if named && HasRole(m, cmp.Or(s.Role, "any")) && (m.PendingRestart || !s.Pending) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w: no member of cluster %s matches%s", ErrRefused, v.Scope, s.words())
	}
	slices.SortStableFunc(chosen, func(x, y Member) int { return cmp.Compare(rank(x), rank(y)) })
	if s.Any {
		chosen = chosen[:1]
	}
	return chosen, nil
}

func rank(m Member) int {
	if m.Leads() {
		return 1
	}
	return 0
}

func (s Selection) words() string {
	var parts []string
	if len(s.Members) > 0 {
		parts = append(parts, "member "+list(s.Members))
	}
	if s.Role != "" {
		parts = append(parts, "role "+s.Role)
	}
	if s.Pending {
		parts = append(parts, "a pending restart")
	}
	return ": " + strings.Join(parts, ", ")
}

func namesOf(members []Member) []string {
	names := make([]string, 0, len(members))
	for _, m := range members {
		names = append(names, m.Name)
	}
	return names
}

// RestartOptions narrow a restart; all conditions must hold on the member.
type RestartOptions struct {
	Selection
	Scheduled string
	PGVersion string
	// Timeout is how long the server may take to start; 0 means the member's own.
	Timeout time.Duration
}

// Restart restarts servers, one after another, standbys first.
func (o *Operator) Restart(ctx context.Context, options RestartOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	members, err := Select(overview, options.Selection)
	if err != nil {
		return err
	}
	scheduled, err := o.when(options.Scheduled)
	if err != nil {
		return err
	}
	if scheduled != "" && overview.Paused {
		return fmt.Errorf("%w: no restart is scheduled while cluster %s is paused: restart now, or pgkeeper resume first", ErrRefused, overview.Scope)
	}
	question := fmt.Sprintf("Restart the server of %s?", list(namesOf(members)))
	if scheduled != "" {
		question = fmt.Sprintf("Schedule a restart of %s at %s?", list(namesOf(members)), scheduled)
	}
	if err := o.Console.Confirm(question); err != nil {
		return err
	}
	args := cluster.RestartArgs{
		Schedule: scheduled, PostgresVersion: options.PGVersion, Timeout: options.Timeout.Seconds(), RestartPending: options.Pending,
	}
	return o.each(ctx, members, "restart", func(ctx context.Context, m Member) (cluster.Result, error) {
		return o.submit(ctx, overview, m, cluster.RequestRestart, args, options.Timeout)
	})
}

// Reload makes agents read their files again and their servers reload.
func (o *Operator) Reload(ctx context.Context, selection Selection) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	members, err := Select(overview, selection)
	if err != nil {
		return err
	}
	if err := o.Console.Confirm(fmt.Sprintf("Reload %s?", list(namesOf(members)))); err != nil {
		return err
	}
	return o.each(ctx, members, "reload", func(ctx context.Context, m Member) (cluster.Result, error) {
		return o.submit(ctx, overview, m, cluster.RequestReload, nil, 0)
	})
}

// ReinitOptions say which standbys to rebuild, and how.
type ReinitOptions struct {
	Selection
	FromLeader bool
	// Wait returns when they stream again.
	Wait bool
}

// Reinit rebuilds standbys from a fresh copy.
func (o *Operator) Reinit(ctx context.Context, options ReinitOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	if len(options.Members) == 0 && options.Role == "" {
		name, err := o.Console.Ask("Which member should be rebuilt ("+strings.Join(standbys(overview), ", ")+")", "")
		if err != nil {
			return err
		}
		if name == "" {
			return fmt.Errorf("%w: name the member to rebuild: %s", ErrRefused, list(standbys(overview)))
		}
		options.Members = []string{name}
	}
	members, err := Select(overview, options.Selection)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Leads() {
			return fmt.Errorf("%w: %s is the leader, its data is what the others are rebuilt from: switch over first", ErrRefused, m.Name)
		}
	}
	if err := o.Console.Confirm(fmt.Sprintf("Replace the data of %s by a fresh copy?", list(namesOf(members)))); err != nil {
		return err
	}
	args := cluster.ReinitArgs{Force: o.Console.Force, FromLeader: options.FromLeader}
	return o.each(ctx, members, "reinitialize", func(ctx context.Context, m Member) (cluster.Result, error) {
		r, err := o.submit(ctx, overview, m, cluster.RequestReinitialize, args, 0)
		if err != nil || !options.Wait || (!r.Done && !r.Accepted) {
			return r, err
		}
		return r, o.waitRebuilt(ctx, m)
	})
}

func standbys(v Overview) []string {
	var names []string
	for _, m := range v.Members {
		if HasRole(m, "replica") {
			names = append(names, m.Name)
		}
	}
	return names
}

// waitRebuilt waits until the member was seen at work and streams again. A copy
// so small that the work was never seen counts after a few quiet looks.
func (o *Operator) waitRebuilt(ctx context.Context, m Member) error {
	seen, quiet := false, 0
	return o.until(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
		v, err := o.Cluster.Overview(ctx)
		if err != nil {
			return false, "", err
		}
		now, _ := v.Member(m.Name)
		healthy := now.State == "streaming" || now.State == string(cluster.StateRunning)
		if !healthy {
			seen = true
		} else {
			quiet++
		}
		return healthy && (seen || quiet > 12), strings.TrimSuffix(fmt.Sprintf("%s: %s, %s", m.Name, cmp.Or(now.State, "gone"), now.Progress), ", "), nil
	})
}

// Flush withdraws what is scheduled: restarts of members, or the switchover.
func (o *Operator) Flush(ctx context.Context, what string, selection Selection) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	if what == "switchover" {
		if err := o.Console.Confirm("Withdraw the scheduled switchover?"); err != nil {
			return err
		}
		if err := o.Cluster.CancelFailover(ctx); err != nil {
			return err
		}
		o.Console.Say("Success: scheduled switchover deleted")
		return nil
	}
	members, err := Select(overview, selection)
	if err != nil {
		return err
	}
	if len(selection.Members) == 0 { // who is named answers for himself
		members = slices.DeleteFunc(members, func(m Member) bool { return m.ScheduledRestart == "" })
	}
	if len(members) == 0 {
		return fmt.Errorf("%w: no restart is scheduled", ErrRefused)
	}
	if err := o.Console.Confirm(fmt.Sprintf("Withdraw the scheduled restart of %s?", list(namesOf(members)))); err != nil {
		return err
	}
	return o.each(ctx, members, "flush scheduled restart", func(ctx context.Context, m Member) (cluster.Result, error) {
		return o.submit(ctx, overview, m, cluster.RequestCancelRestart, nil, 0)
	})
}

func (o *Operator) submit(ctx context.Context, v Overview, m Member, kind cluster.RequestKind, args any, extra time.Duration) (cluster.Result, error) {
	request := cluster.Request{ID: newID(), Member: m.Name, Kind: kind}
	if args != nil {
		raw, err := json.Marshal(args)
		if err != nil {
			return cluster.Result{}, fmt.Errorf("encode the request: %w", err)
		}
		request.Args = raw
	}
	bounded, cancel := context.WithTimeout(ctx, 2*v.LoopWait+60*time.Second+extra)
	defer cancel()
	return o.Cluster.Submit(bounded, request)
}

// each runs do on one member after another, tells every result, and stops at the
// first failure: what went wrong on one standby should not reach the leader.
func (o *Operator) each(ctx context.Context, members []Member, what string, do func(context.Context, Member) (cluster.Result, error)) error {
	for i, m := range members {
		o.Console.Report("%s %s", what, m.Name)
		r, err := do(ctx, m)
		if err == nil && !r.Done && !r.Accepted {
			err = errors.New(cmp.Or(r.Message, "no reason was given"))
			if r.Refused {
				err = fmt.Errorf("%w: %s", ErrRefused, r.Message)
			}
		}
		if err != nil {
			rest := ""
			if left := namesOf(members[i+1:]); len(left) > 0 {
				rest = "; not tried: " + list(left)
			}
			return fmt.Errorf("%s on member %s: %w%s", what, m.Name, err, rest)
		}
		if r.Accepted && !r.Done && r.Message != "" {
			o.Console.Say("Success: %s for member %s (%s)", what, m.Name, r.Message)
			continue
		}
		o.Console.Say("Success: %s for member %s", what, m.Name)
	}
	return nil
}
