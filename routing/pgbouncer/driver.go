package pgbouncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Settings is what a driver is made of beside its pooler's options.
type Settings struct {
	Options
	// Member is who drives it.
	Member string
	// PauseTimeout is how long transactions may go on after a hold began; MaxHold how
	// long clients wait for a primary before they are told that there is none.
	PauseTimeout, MaxHold time.Duration
	// Deadman is the command that runs Deadman.
	Deadman []string
	// Now is a clock that never goes back, Timer one's timer.
	Now   func() cluster.Instant
	Timer func(time.Duration) *time.Timer
	Log   *slog.Logger
}

// Driver has one PgBouncer follow the cluster. Only Run uses it.
type Driver struct {
	Settings
	console console
	want    want
	known   bool
	// loaded is the file that PgBouncer was last seen to go by, routed the primary in it.
	loaded []byte
	routed server
	// unsure: a process before this one may have left it paused.
	unsure bool
	// since is when the hold began, zero while there is none; paused: PgBouncer was told.
	// spent: it lasted too long and was ended, and there is none until a primary was seen
	// again.
	since  cluster.Instant
	paused bool
	spent  bool
	alarm  *deadman
	watch  watch
	// said is what the member key says; trouble what was logged last.
	said    saying
	trouble string
}

type saying struct {
	state cluster.PoolerState
	held  string
}

// New makes a driver; an error is one of the options.
func New(s Settings) (*Driver, error) {
	c, err := newConsole(s.Admin)
	if err != nil {
		return nil, err
	}
	return &Driver{Settings: s, console: c, unsure: true}, nil
}

// again is between two looks while something is due that no event tells of.
const again = time.Second

// Run drives until ctx ends. newest is the member's status without waiting, stepped says
// that there may be a new one; say is told what the pooler does, whenever that changes.
func (d *Driver) Run(ctx context.Context, newest func() *cluster.Status, stepped <-chan struct{}, say func(cluster.PoolerState, string)) {
	timer := d.Timer(0)
	defer timer.Stop()
	defer d.watch.hangUp()
	for {
		select {
		case <-ctx.Done():
			d.leave(context.WithoutCancel(ctx), newest())
			return
		case <-stepped:
		case <-timer.C:
		}
		d.see(newest())
		err := d.follow(ctx)
		if err == nil {
			err = d.look(ctx)
		}
		d.report(ctx, err)
		d.tell(say, err)
		if err != nil || !d.since.Never() {
			timer.Reset(again)
		} else {
			timer.Reset(lookEvery)
		}
	}
}

// see takes what the newest view says. While the store cannot be read what was known
// stands: the primary may well go on.
func (d *Driver) see(s *cluster.Status) {
	if s == nil || !s.View.Good() {
		return
	}
	w, known := wanted(&s.View.Value, d.late)
	if !known {
		w.primary, w.replicas, known = d.want.primary, d.want.replicas, d.known
	}
	d.want, d.known = w, known
}

// late: the replica is further behind than MaxLag; or was, and has more than half of that
// to catch up yet, so that one at the limit does not come and go.
func (d *Driver) late(s server, behind uint64) bool {
	limit := uint64(max(0, d.MaxLag))
	if !slices.Contains(d.want.replicas, s) && d.known {
		limit /= 2
	}
	return d.MaxLag > 0 && behind > limit
}

// follow makes the pooler what it should be, as far as it is not.
func (d *Driver) follow(ctx context.Context) error {
	switch {
	case !d.known:
		return nil
	case d.want.hold:
		return d.hold(ctx)
	}
	d.spent = false
	first, then := d.load, d.release
	if d.routed == d.want.primary { // replicas can wait, clients cannot
		first, then = then, first
	}
	if err := first(ctx); err != nil {
		return err
	}
	return then(ctx)
}

// hold keeps new work waiting, for MaxHold at most. Whoever has the lease is where it will
// go: PgBouncer is told while that one is promoted.
func (d *Driver) hold(ctx context.Context) (err error) {
	switch {
	case d.spent:
		return nil
	case d.since.Never():
		if d.alarm, err = arm(d.Deadman, Spec{d.Admin, d.Databases, d.MaxHold}); err != nil {
			return fmt.Errorf("start what resumes the pooler if this agent dies: %w", err) // nothing was paused
		}
		d.since = d.Now()
		err = d.pauseAll(ctx)
	case d.Now() >= d.since.Add(d.MaxHold): // also when no pause arrived until then
		if err := d.release(ctx); err != nil {
			return err
		}
		d.Log.Warn("pooler let through without a primary", "member", d.Member, "duration", d.MaxHold.String())
		d.spent = true
		return nil
	case !d.paused:
		err = d.pauseAll(ctx)
	}
	if err != nil || d.routed == d.want.primary {
		return err
	}
	return d.load(ctx)
}

// pauseAll pauses every database at once. What did not end in time goes on beside the
// hold: that is no error, and is logged.
func (d *Driver) pauseAll(ctx context.Context) error {
	failed, drained := make([]error, len(d.Databases)), make([]bool, len(d.Databases))
	var all sync.WaitGroup
	for i, name := range d.Databases {
		all.Go(func() { drained[i], failed[i] = d.console.pause(ctx, name, d.PauseTimeout) })
	}
	all.Wait()
	err := errors.Join(failed...)
	d.paused = err == nil
	if err == nil && slices.Contains(drained, false) {
		d.Log.Warn("transactions go on although the pooler holds new ones", "member", d.Member, "duration", d.PauseTimeout.String())
	}
	return err
}

// load has PgBouncer go by the newest file.
func (d *Driver) load(ctx context.Context) error {
	content := d.render(d.Member, d.want)
	if bytes.Equal(content, d.loaded) {
		return nil
	}
	if err := replaceFile(d.File, content); err != nil {
		return fmt.Errorf("write poolers.pgbouncer.databases_file: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	if err := d.console.reload(ctx); err != nil {
		return err
	}
	host, port, err := d.console.host(ctx, d.Databases[0])
	if err != nil {
		return err
	}
	if host != d.want.primary.host || port != d.want.primary.port {
		return fmt.Errorf("PgBouncer sends %s to %q port %q after a reload, not to %s port %s: write %%include %s at the end of its pgbouncer.ini, and no line for %s in it",
			d.Databases[0], host, port, d.want.primary.host, d.want.primary.port, d.File, d.Databases[0])
	}
	d.loaded, d.routed = content, d.want.primary
	d.Log.Info("pooler follows", "member", d.Member, "primary", d.want.primary.host+":"+d.want.primary.port, "replicas", len(d.want.replicas))
	return nil
}

// release lets through what was held, here or by a process before this one.
func (d *Driver) release(ctx context.Context) error {
	if d.since.Never() && !d.unsure {
		return nil
	}
	if err := resumeAll(ctx, d.console, d.Databases); err != nil {
		return err
	}
	d.alarm.disarm()
	d.alarm, d.since, d.paused, d.unsure = nil, 0, false, false
	return nil
}

// leave ends a hold when the agent stops: whoever has the lease by then is where clients
// go, whether it accepts writes yet or in a moment.
func (d *Driver) leave(ctx context.Context, s *cluster.Status) {
	if d.since.Never() {
		return
	}
	d.see(s)
	err := d.load(ctx)
	if err = errors.Join(err, d.release(ctx)); err != nil {
		d.Log.Warn("pooler left as it is", "member", d.Member, "error", err.Error())
	}
}

// report logs trouble once, and its end.
func (d *Driver) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil && d.trouble != "":
		d.Log.Info("pooler driven again", "member", d.Member)
		d.trouble = ""
	case err != nil && err.Error() != d.trouble:
		d.trouble = err.Error()
		d.Log.Warn("pooler not driven", "member", d.Member, "error", d.trouble)
	}
}

// tell says what the pooler does now; nothing before it was given anything to do.
func (d *Driver) tell(say func(cluster.PoolerState, string), err error) {
	if !d.known {
		return
	}
	now := saying{state: cluster.PoolerServing}
	switch {
	case err != nil:
		now.state = cluster.PoolerLost
	case !d.since.Never():
		now = saying{cluster.PoolerHolding, d.want.held}
	}
	if now != d.said {
		d.said = now
		say(now.state, now.held)
	}
}
