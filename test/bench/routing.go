//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/deploy"
	"github.com/pgkeeper/pgkeeper/routing"
	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/fakemember"
)

// routeLab is HAProxy with the shipped configuration and a router before members whose roles move at once: what is
// measured is routing alone.
type routeLab struct {
	members  fakemember.Set
	writes   string
	news     chan routing.News
	revision int64
	haproxy  routing.HAProxy
	end      []func()
}

func newRouteLab(ctx context.Context) (l *routeLab, err error) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, errors.New("haproxy is not installed: script/install-deps bench installs it")
	}
	l = &routeLab{news: make(chan routing.News)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	dir, err := os.MkdirTemp("", "pgk-route-") //nolint:usetesting // removed with HAProxy
	if err != nil {
		return l, err
	}
	l.end = append(l.end, func() { _ = os.RemoveAll(dir) })
	if l.members, err = fakemember.StartSet(3, 0); err != nil {
		return l, err
	}
	l.end = append(l.end, func() { _ = l.members.Close() })
	p := deploy.DefaultHAProxyParams()
	p.Servers = nil
	for _, m := range l.members {
		p.Servers = append(p.Servers, deploy.Server{Name: m.Name, Addr: "127.0.0.1", Port: m.Port, CheckPort: m.CheckPort})
	}
	if p.Primary, p.Replica, err = twoAddresses(); err != nil {
		return l, err
	}
	p.Stats, p.User, p.Group, p.Chroot, p.Log = "", "", "", "", "stderr format raw local0"
	p.Socket = dir + "/socket"
	path, err := p.Write(dir)
	if err != nil {
		return l, err
	}
	cmd := exec.Command(program, "-db", "-f", path) //nolint:noctx // ended by close
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return l, fmt.Errorf("start haproxy: %w", err)
	}
	l.end = append(l.end, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	l.writes, l.haproxy = p.Primary, routing.HAProxy{Socket: p.Socket, Backend: "primary", Reads: "replicas"}
	l.follow(ctx)
	return l, testbed.Wait(ctx, 10*time.Second, "writes through HAProxy", func(ctx context.Context) string {
		if name := l.connect(ctx); name != "pg1" {
			return "they go to " + name
		}
		return ""
	})
}

// follow runs the router on the lab's news.
func (l *routeLab) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	router := &routing.Router{HAProxy: l.haproxy, Now: clock.Now, Log: slog.New(slog.DiscardHandler),
		Sources: []routing.Source{{Name: "bench", Run: func(ctx context.Context, tell func(routing.News)) error {
			for {
				select {
				case n := <-l.news:
					tell(n)
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		router.Run(ctx)
	}()
	l.end = append(l.end, func() { cancel(); <-done })
}

func (l *routeLab) close() {
	for _, end := range slices.Backward(l.end) {
		end()
	}
}

// flip moves the role and tells of it; -1 leaves nobody.
func (l *routeLab) flip(primary int) {
	l.members.Become(primary)
	l.revision++
	l.news <- routing.News{Topology: l.members.Topology(primary, l.revision), Revision: l.revision, At: clock.Now()}
}

// connect opens a connection for writes and says whom it reached.
func (l *routeLab) connect(ctx context.Context) string {
	conn, name := fakemember.Dial(ctx, l.writes, 10*time.Second)
	if conn != nil {
		_ = conn.Close()
	}
	return name
}

// reaches waits, without a pause, until a connection reaches the member.
func (l *routeLab) reaches(ctx context.Context, name string) error {
	limit := time.Now().Add(10 * time.Second)
	for l.connect(ctx) != name {
		if time.Now().After(limit) {
			return fmt.Errorf("no connection reached %s within 10 s", name)
		}
	}
	return nil
}

// routeTrial is one flip, or one gap of two seconds with three clients that connect again and again.
func (s *session) routeTrial(ctx context.Context, row string) (report.Trial, error) {
	l, err := newRouteLab(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	defer l.close()
	l.flip(0)
	if row == "route_flip" {
		session, _ := fakemember.Dial(ctx, l.writes, time.Second)
		if session == nil {
			return report.Trial{}, errors.New("no session on the old primary")
		}
		defer session.Close()
		began := time.Now()
		l.flip(1)
		err := l.reaches(ctx, "pg2")
		t := report.Trial{Value: time.Since(began).Seconds(), Detail: map[string]any{}}
		_ = session.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = session.Read(make([]byte, 1)) // until it is cut
		t.Detail["cut"] = time.Since(began).Seconds()
		return t, err
	}
	return l.gap(ctx)
}

// gap counts new connections that begin in a gap of two seconds and fail.
func (l *routeLab) gap(ctx context.Context) (report.Trial, error) {
	l.flip(-1)
	err := testbed.Wait(ctx, 5*time.Second, "the old primary to be down", func(ctx context.Context) string {
		servers, err := l.haproxy.Servers(ctx)
		if err != nil || servers["pg1"].Up || servers["pg1"].Check == "L7OK" { // a check under way may have an older answer
			return fmt.Sprint(servers, err)
		}
		return ""
	})
	if err != nil {
		return report.Trial{}, err
	}
	clients, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	var mu sync.Mutex
	all, failed, longest := 0, 0, time.Duration(0)
	for range 3 {
		running.Go(func() {
			for clients.Err() == nil {
				began := time.Now()
				name := l.connect(ctx)
				mu.Lock()
				all++
				if name == "" {
					failed++
				}
				longest = max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	pause(ctx, 2*time.Second)
	l.flip(1)
	err = l.reaches(ctx, "pg2")
	stop()
	running.Wait()
	return report.Trial{Value: float64(failed), Detail: map[string]any{"connections (number)": all, "longest": longest.Seconds()}}, err
}
