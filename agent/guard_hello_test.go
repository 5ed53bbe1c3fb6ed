package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/guard"
)

// TestAGuardThatWasFrozenBeforeItsWorkerCameIsMissed: it accepts the connection, which
// the kernel does, and never answers. What runs under it is nobody's until then.
func TestAGuardThatWasFrozenBeforeItsWorkerCameIsMissed(t *testing.T) {
	dir, listener := guardSocket(t)
	defer listener.Close()
	said := make(chan Event, 8)
	link := newGuardLink(dir, filepath.Join(dir, "data"), "test", func(e Event) { said <- e }, func() time.Duration { return 2 * time.Second }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- link.hold(ctx) }()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	select {
	case e := <-said:
		if (e != GuardFrozen{}) {
			t.Errorf("said %#v, want that the guard is frozen", e)
		}
	case err := <-ended:
		t.Errorf("given up before it was missed: %v", err)
	case <-deadline.C:
		t.Error("nobody missed it")
	}
	link.mu.Lock()
	known := link.dialed != nil && link.dialed.PeerPID() == os.Getpid()
	link.mu.Unlock()
	if !known {
		t.Error("the process to kill is not known")
	}
}

// guardSocket listens where a worker looks for its guard.
func guardSocket(t *testing.T) (dir string, listener net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgk") //nolint:usetesting // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err = net.Listen("unix", filepath.Join(dir, guard.SocketName)) //nolint:noctx // a socket of a test
	if err != nil {
		t.Fatal(err)
	}
	return dir, listener
}

// TestAFenceWithNothingLeftWaitsForABusyGuard: a worker that thaws past the deadline
// finds no process of the server. It kills no guard for being slow to say that it has
// stopped it, and waits no longer than until a process of the server shows up after all.
func TestAFenceWithNothingLeftWaitsForABusyGuard(t *testing.T) {
	dir, listener := guardSocket(t)
	defer listener.Close()
	data := filepath.Join(dir, "data")
	asked, answer := make(chan struct{}, 2), make(chan struct{}, 2)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			var request struct {
				ID uint64 `json:"id"`
			}
			_ = json.Unmarshal(lines.Bytes(), &request)
			asked <- struct{}{}
			<-answer
			reply, _ := json.Marshal(map[string]any{"id": request.ID, "status": guard.Status{PID: os.Getpid()}})
			_, _ = conn.Write(append(reply, '\n'))
		}
	}()
	client, err := guard.Connect(t.Context(), filepath.Join(dir, guard.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	link := newGuardLink(dir, data, "test", func(Event) {}, func() time.Duration { return 2 * time.Second }, slog.New(slog.DiscardHandler))
	found := make(chan bool, 1)
	look := func() { found <- link.nothingLeft(client) }

	go look()
	<-asked
	busy := time.NewTimer(busyPatience / 10)
	defer busy.Stop()
	select {
	case <-found:
		t.Error("not waited for a guard that is merely slow")
	case <-busy.C:
		answer <- struct{}{}
		if !<-found {
			t.Error("the guard has nothing left, as it says")
		}
	}

	began := clock.Now()
	go look()
	<-asked
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	late := exec.CommandContext(t.Context(), "sleep", "60")
	late.Dir = data
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Process.Kill(); _ = late.Wait() }()
	if <-found {
		t.Error("a process of the server is left")
	}
	if took := clock.Now().Sub(began); took >= busyPatience {
		t.Errorf("found after %s, want at once and not when the guard's time is over", took)
	}
	answer <- struct{}{}
}

// bubbleClock shows the time of a synctest bubble.
type bubbleClock struct {
	realClock
	began time.Time
}

func (c bubbleClock) Now() cluster.Instant { return 1 + cluster.Instant(time.Since(c.began)) }

// TestAnyAnswerOfTheGuardIsAHeartbeat: what it was asked does not matter, only that its loop
// has turned. One that says no more is missed as soon as one that answers pings only.
func TestAnyAnswerOfTheGuardIsAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl, renewals = 5 * time.Second, 10
		c := bubbleClock{began: time.Now()}
		var heard atomic.Int64
		var stopped atomic.Bool
		pings, frozen := 0, cluster.Instant(0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		h := Heartbeat{Clock: c, TTL: func() time.Duration { return ttl }, Stopped: stopped.Load,
			Heard: func() cluster.Instant { return cluster.Instant(heard.Load()) },
			Post:  func(Event) { frozen = c.Now() },
			Ping: func(ctx context.Context) error {
				pings++
				if stopped.Load() {
					<-ctx.Done()
					return ctx.Err()
				}
				heard.Store(int64(c.Now()))
				return nil
			}}
		go func() { defer close(ended); h.Run(ctx) }()
		for range renewals {
			heard.Store(int64(c.Now()))
			clock.Sleep(nil, time.Second)
		}
		if pings != 2*renewals {
			t.Errorf("%d pings beside %d other answers, want 2 between each two", pings, renewals)
		}
		last := cluster.Instant(heard.Load())
		stopped.Store(true)
		clock.Sleep(nil, ttl)
		every, _ := rhythm(ttl)
		if took := frozen.Sub(last); took <= 0 || took > 3*every {
			t.Errorf("missed %s after its last answer, want %s", took, 3*every)
		}
		cancel()
		<-ended
	})
}

// TestAStoppedGuardThatNeverAnsweredIsMissedWithinHalfAMargin: its worker may have come
// half a margin before the lease ends, and cannot know it. A guard that merely takes its
// time over the hello is given as long as ever.
func TestAStoppedGuardThatNeverAnsweredIsMissedWithinHalfAMargin(t *testing.T) {
	for _, c := range []struct {
		name     string
		ttl      time.Duration
		stopped  bool
		answers  time.Duration // 0 for never
		from, to time.Duration // it is missed in between; 0 for never
	}{
		{"stopped, the shortest lease", 2 * time.Second, true, 0, 1, 200 * time.Millisecond},
		{"stopped, a long lease", cluster.DefaultTTL, true, 0, 1, 200 * time.Millisecond},
		{"not stopped", 4 * time.Second, false, 0, 1900 * time.Millisecond, 2 * time.Second},
		{"not stopped, and it answers after a second", 4 * time.Second, false, time.Second, 0, 0},
		{"stopped for a moment", 4 * time.Second, true, 50 * time.Millisecond, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				answered, clock, missed := make(chan struct{}), bubbleClock{began: time.Now()}, time.Duration(0)
				if c.answers != 0 {
					time.AfterFunc(c.answers, func() { close(answered) })
				}
				Heartbeat{Clock: clock, Ping: first(answered), Unheard: true, TTL: func() time.Duration { return c.ttl },
					Stopped: func() bool { return c.stopped },
					Post: func(e Event) {
						if (e == GuardFrozen{}) {
							missed = clock.Now().Sub(1)
						}
					}}.Run(ctx)
				if missed < c.from || missed > c.to {
					t.Errorf("missed after %s, want %s to %s", missed, c.from, c.to)
				}
			})
		})
	}
}

// TestAWorkerThatStoodStillTakesNoGuardForFrozen: the answer to its ping came meanwhile and
// lies in the socket, but the time for it is up. It asks once more, and has as long for
// that as for a guard that is merely busy. A guard that the kernel has stopped, or that
// answers no ping, is known at once.
func TestAWorkerThatStoodStillTakesNoGuardForFrozen(t *testing.T) {
	for _, c := range []struct {
		name    string
		silent  int // pings that get no answer in time
		stopped bool
		want    []Event
	}{
		{"one ping too late", 1, false, nil},
		{"one ping too late, and the guard is stopped", 1, true, []Event{GuardFrozen{}, GuardAnswered{}}},
		{"two pings too late", 2, false, []Event{GuardFrozen{}, GuardAnswered{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var said []Event
				asked := 0
				Heartbeat{
					Clock: bubbleClock{began: time.Now()}, TTL: func() time.Duration { return 4 * time.Second }, Stopped: func() bool { return c.stopped },
					Post: func(e Event) { said = append(said, e) },
					Ping: func(ctx context.Context) error {
						if asked++; asked <= c.silent {
							<-ctx.Done()
						}
						return ctx.Err()
					},
				}.Run(ctx)
				if diff := cmp.Diff(c.want, said); diff != "" {
					t.Errorf("said (-want +got):\n%s", diff)
				}
			})
		})
	}
}
