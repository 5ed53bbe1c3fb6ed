//go:build integration

package pgbouncer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// TestMain is the dead man's switch too: the driver starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "deadman" {
		wait := func(ctx context.Context, d time.Duration) { clock.Sleep(ctx.Done(), d) }
		if err := Deadman(context.Background(), os.Stdin, wait); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is a test's main
}

// bouncer is a PgBouncer of the distribution that serves nobody yet.
type bouncer struct {
	*testbed.PgBouncer
	t *testing.T
}

func newBouncer(t *testing.T) *bouncer {
	t.Helper()
	p := bedtest.PgBouncer(t, map[string]string{"app": ""})
	return &bouncer{p, t}
}

// serve has it know a database of its own, without a driver.
func (b *bouncer) serve(database string) {
	b.t.Helper()
	if err := replaceFile(b.File(), []byte("[databases]\n"+database+" = host=127.0.0.2 port=1\n")); err != nil {
		b.t.Fatal(err)
	}
	if err := b.console().reload(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bouncer) console() console {
	c, err := newConsole(b.Admin())
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// until waits for a condition, a minute at most.
func (b *bouncer) until(what string, is func() bool) {
	b.t.Helper()
	for end := clock.Now().Add(time.Minute); !is(); clock.Sleep(nil, 5*time.Millisecond) {
		if clock.Now() > end {
			b.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// column is one column of what the console shows of a database.
func (b *bouncer) column(database, name string) string {
	b.t.Helper()
	results, err := b.console().command(b.t.Context(), "SHOW DATABASES")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range results[0].Rows {
		var found, value string
		for i, f := range results[0].FieldDescriptions {
			switch f.Name {
			case "name":
				found = string(row[i])
			case name:
				value = string(row[i])
			}
		}
		if found == database {
			return value
		}
	}
	return ""
}

// driven is a driver at work on a bouncer, and the view it is shown.
type driven struct {
	*bouncer
	stepped chan struct{}
	mu      sync.Mutex
	status  *cluster.Status
	said    []string
	heard   int // how much of it the test has waited for
	end     func()
}

func drive(b *bouncer, file string, maxHold time.Duration, log io.Writer) *driven {
	b.t.Helper()
	d, err := New(Settings{
		Options: Options{Admin: b.Admin(), File: file, Databases: []string{"app"}, ReadSuffix: "_ro"}, Member: "pg1",
		PauseTimeout: 300 * time.Millisecond, MaxHold: maxHold, Deadman: []string{"/proc/self/exe", "deadman"},
		Now: clock.Now, Timer: clock.Timer, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	x := &driven{bouncer: b, stepped: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		d.Run(ctx, func() *cluster.Status { x.mu.Lock(); defer x.mu.Unlock(); return x.status }, x.stepped, func(s cluster.PoolerState, held string) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.said = append(x.said, strings.TrimSpace(string(s)+" "+held))
		})
	})
	x.end = func() { cancel(); running.Wait() }
	b.t.Cleanup(x.end)
	return x
}

// show gives the driver another view.
func (x *driven) show(v cluster.View) {
	x.mu.Lock()
	x.status = &cluster.Status{View: cluster.Seen(v, clock.Now())}
	x.mu.Unlock()
	select {
	case x.stepped <- struct{}{}:
	default:
	}
}

// hears looks for something that was said after what was heard before: it may not be the
// last any more.
func (x *driven) hears(what string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := slices.Index(x.said[x.heard:], what)
	x.heard += at + 1
	return at >= 0
}

func (x *driven) says(what string) {
	x.t.Helper()
	x.until("it says "+what, func() bool { return x.hears(what) })
}

func twoMembers(leader string, phase cluster.SwitchoverPhase) cluster.View {
	role := map[bool]cluster.Role{true: cluster.RolePrimary, false: cluster.RoleReplica}
	v := view(leader, member("a", "127.0.0.2:1", role[leader == "a"]), member("b", "127.0.0.3:1", role[leader == "b"]))
	if phase != "" {
		v.Switchover = &cluster.Switchover{ID: "op", From: "a", To: "b", Phase: phase}
	}
	return v
}

func TestAPoolerFollowsASwitchover(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	x := drive(b, b.File(), time.Minute, t.Output())
	x.show(twoMembers("a", ""))
	x.says("serving")
	if host, readers := x.column("app", "host"), x.column("app_ro", "host"); host != "127.0.0.2" || readers != "127.0.0.3" {
		t.Errorf("writes go to %s, reads to %s", host, readers)
	}
	x.show(twoMembers("a", cluster.SwitchoverHolding))
	x.says("holding op")
	if x.column("app", "paused") != "1" || x.column("app_ro", "paused") != "0" {
		t.Errorf("paused: app %s, app_ro %s", x.column("app", "paused"), x.column("app_ro", "paused"))
	}
	x.show(twoMembers("a", cluster.SwitchoverStopping))
	x.show(twoMembers("", "")) // nobody leads for a moment
	x.says("holding")
	given := twoMembers("b", "")
	b2 := given.Members["b"]
	b2.Role = cluster.RoleReplica // it is being promoted
	given.Members["b"] = b2
	x.show(given)
	x.until("PgBouncer is told whom it is held for", func() bool { return x.column("app", "host") == "127.0.0.3" })
	if got := x.column("app", "paused"); got != "1" {
		t.Errorf("before b is the primary: paused %s", got)
	}
	x.show(twoMembers("b", ""))
	x.says("serving")
	x.until("reads at a", func() bool { return x.column("app_ro", "host") == "127.0.0.2" })
	if x.column("app", "paused") != "0" || x.column("app", "host") != "127.0.0.3" || x.column("app_ro", "host") != "127.0.0.2" {
		t.Errorf("paused %s, writes go to %s, reads to %s", x.column("app", "paused"), x.column("app", "host"), x.column("app_ro", "host"))
	}
}

func TestAHoldEndsWhenItLastedTooLongAndBeginsAnewAfterAPrimary(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	x := drive(b, b.File(), 700*time.Millisecond, t.Output())
	x.show(twoMembers("a", ""))
	x.says("serving")
	x.show(twoMembers("", ""))
	x.says("holding")
	x.says("serving")
	x.until("it is not paused", func() bool { return x.column("app", "paused") == "0" })
	x.show(twoMembers("b", ""))
	x.until("writes at b", func() bool { return x.column("app", "host") == "127.0.0.3" })
	x.show(twoMembers("", ""))
	x.says("holding")
}

func TestWhatAnAgentPausedIsResumedWhenItDies(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	b.serve("app")
	d, err := arm([]string{"/proc/self/exe", "deadman"}, Spec{b.Admin(), []string{"app"}, 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.console().pause(t.Context(), "app", time.Minute); err != nil || b.column("app", "paused") != "1" {
		t.Fatalf("paused %s: %v", b.column("app", "paused"), err)
	}
	_ = d.in.Close() // as the kernel does when the agent dies
	b.until("resumed", func() bool { return b.column("app", "paused") == "0" })
}

func TestASwitchThatWasDisarmedTouchesNothing(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	b.serve("app")
	if _, err := b.console().pause(t.Context(), "app", time.Minute); err != nil {
		t.Fatal(err)
	}
	in := strings.NewReader(`{"admin":"` + b.Admin() + `","databases":["app"],"after_ns":60000000000}` + "\n" + resumed + "\n")
	waited := func(ctx context.Context, _ time.Duration) { <-ctx.Done() }
	if err := Deadman(t.Context(), in, waited); err != nil || b.column("app", "paused") != "1" {
		t.Errorf("paused %s: %v", b.column("app", "paused"), err)
	}
}

func TestATransactionThatGoesOnIsNotWaitedForLongerThanAsked(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.4:0") // accepts, and answers nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	b := newBouncer(t)
	x := drive(b, b.File(), time.Minute, t.Output())
	v := view("a", member("a", server.Addr().String(), cluster.RolePrimary))
	x.show(v)
	x.says("serving")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // a client whose server connection never becomes idle
		if conn, err := pgconn.Connect(ctx, x.DSN("app", "app")); err == nil {
			_ = conn.Exec(ctx, "select 1").Close()
		}
	}()
	x.until("the server is asked", func() bool { return x.column("app", "current_connections") == "1" })
	began := clock.Now()
	v.Switchover = &cluster.Switchover{ID: "op", From: "a", To: "b", Phase: cluster.SwitchoverHolding}
	x.show(v)
	x.says("holding op")
	if took := clock.Now().Sub(began); took > 20*time.Second || x.column("app", "paused") != "1" {
		t.Errorf("after %s, paused %s", took, x.column("app", "paused"))
	}
}

func TestAPoolerThatDoesNotIncludeTheFileIsNamed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	other := filepath.Join(t.TempDir(), "databases.ini")
	x := drive(newBouncer(t), other, time.Minute, &log)
	x.show(twoMembers("a", ""))
	x.says("lost")
	x.end()
	if want := "write %include " + other + " at the end of its pgbouncer.ini"; !strings.Contains(log.String(), want) {
		t.Errorf("want %q in:\n%s", want, log.String())
	}
}

func TestAPauseThatDidNotArriveIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	d, err := New(Settings{Options: Options{Admin: "host=127.0.0.1 port=1 user=keeper sslmode=disable", File: b.File(), Databases: []string{"app"}, ReadSuffix: "_ro"},
		PauseTimeout: time.Second, MaxHold: time.Minute, Deadman: []string{"/proc/self/exe", "deadman"}, Now: clock.Now, Timer: clock.Timer, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.serve("app")
	d.want.hold = true
	if err := d.hold(t.Context()); err == nil {
		t.Fatal("nobody answers there, and it is no error")
	}
	d.console = b.console() // it is back
	if err := d.hold(t.Context()); err != nil || b.column("app", "paused") != "1" {
		t.Errorf("paused %s: %v", b.column("app", "paused"), err)
	}
	if err := d.release(t.Context()); err != nil {
		t.Error(err)
	}
}

// again kills it and starts it again, with a file of its own choice if there is one.
func (b *bouncer) again(file string) {
	b.t.Helper()
	if err := b.Kill(); err != nil {
		b.t.Fatal(err)
	}
	if file != "" {
		if err := replaceFile(b.File(), []byte(file)); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func TestADeadPoolerIsLostUntilItIsBack(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	x := drive(b, b.File(), time.Minute, t.Output())
	x.show(twoMembers("a", ""))
	x.says("serving")
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	x.says("lost")
	b.again("")
	x.says("serving")
}

func TestAPoolerStartedAgainWithoutItsDatabasesIsGivenThem(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	x := drive(b, b.File(), time.Minute, t.Output())
	x.show(twoMembers("a", ""))
	x.says("serving")
	b.again("[databases]\n")
	x.until("writes at a", func() bool { return x.column("app", "host") == "127.0.0.2" })
	if err := replaceFile(b.File(), []byte("[databases]\n")); err != nil { // of which it would hear at its next start
		t.Fatal(err)
	}
	x.until("the file is whole", func() bool { content, _ := os.ReadFile(b.File()); return bytes.Contains(content, []byte("127.0.0.2")) })
}

func TestAPoolerStartedAgainInAHoldIsHeldAgain(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", "[databases]\n"} {
		b := newBouncer(t)
		x := drive(b, b.File(), time.Minute, t.Output())
		x.show(twoMembers("a", ""))
		x.says("serving")
		x.show(twoMembers("a", cluster.SwitchoverHolding))
		x.says("holding op")
		b.again(file)
		x.until("it is paused again", func() bool { return x.column("app", "paused") == "1" })
		x.show(twoMembers("b", ""))
		x.says("serving")
		if x.column("app", "paused") != "0" || x.column("app", "host") != "127.0.0.3" {
			t.Errorf("paused %s, writes go to %s", x.column("app", "paused"), x.column("app", "host"))
		}
	}
}

// A hold ends after MaxHold also where no pause arrived, and is not over before what was
// paused was resumed.
func TestAHoldThatLastedTooLongIsNotBegunAgain(t *testing.T) {
	t.Parallel()
	b := newBouncer(t)
	b.serve("app")
	d, err := New(Settings{Options: Options{Admin: "host=127.0.0.1 port=1 user=keeper sslmode=disable", File: b.File(), Databases: []string{"app"}, ReadSuffix: "_ro"},
		PauseTimeout: time.Second, MaxHold: time.Second, Now: clock.Now, Timer: clock.Timer, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.console().pause(t.Context(), "app", time.Second); err != nil {
		t.Fatal(err)
	}
	d.want.hold, d.since = true, clock.Now().Add(-time.Minute)
	if err := d.hold(t.Context()); err == nil || d.spent {
		t.Errorf("nobody answers there, and the hold is over: %v", err)
	}
	d.console = b.console() // it is back
	if err := d.hold(t.Context()); err != nil || !d.spent || b.column("app", "paused") != "0" {
		t.Errorf("over: %v, paused %s: %v", d.spent, b.column("app", "paused"), err)
	}
}
