//go:build integration

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/dcstest"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

// process is one etcd of the distribution.
type process struct {
	url string
	cmd *exec.Cmd
}

// processes starts size members of the installed etcd, with more options, and waits for
// a leader.
func processes(t *testing.T, size int, more ...string) []*process {
	path, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("etcd is not installed: install Debian's etcd-server")
		}
		t.Skip("etcd is not installed: install Debian's etcd-server")
	}
	urls := freeURLs(t, 2*size)
	var initial []string
	for i := range size {
		initial = append(initial, fmt.Sprintf("m%d=%s", i, urls[2*i]))
	}
	var all []*process
	for i := range size {
		dir := t.TempDir()
		cmd := exec.Command(path, "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, "data"),
			"--listen-client-urls", urls[2*i+1], "--advertise-client-urls", urls[2*i+1],
			"--listen-peer-urls", urls[2*i], "--initial-advertise-peer-urls", urls[2*i],
			"--initial-cluster", strings.Join(initial, ","))
		cmd.Args = append(cmd.Args, more...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		log, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := &process{url: urls[2*i+1], cmd: cmd}
		t.Cleanup(func() { p.kill(); log.Close() })
		all = append(all, p)
	}
	leaderOf(t, all)
	return all
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func freeURLs(t *testing.T, n int) []string {
	var urls []string
	for range n {
		urls = append(urls, "http://"+freeport.Address(t))
	}
	return urls
}

func endpoints(all []*process) []string {
	var urls []string
	for _, p := range all {
		urls = append(urls, p.url)
	}
	return urls
}

// leaderOf waits until every member knows the same leader.
func leaderOf(t *testing.T, all []*process) *process {
	ctx := within(t, time.Minute)
	c := rawClient(t, endpoints(all)...)
	for ctx.Err() == nil {
		if p := agreed(ctx, c, all); p != nil {
			return p
		}
		pass(20 * time.Millisecond)
	}
	t.Fatal("etcd has no leader")
	return nil
}

func agreed(ctx context.Context, c *clientv3.Client, all []*process) (leader *process) {
	var leaders []uint64
	for _, p := range all {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		status, err := c.Status(ask, p.url)
		cancel()
		if err != nil || status.Leader == 0 {
			return nil
		}
		if leaders = append(leaders, status.Leader); status.Leader == status.Header.MemberId {
			leader = p
		}
	}
	if len(slices.Compact(leaders)) != 1 {
		return nil
	}
	return leader
}

func TestConformanceOfTheDistributionsEtcd(t *testing.T) {
	all := processes(t, 1)
	dcstest.Run(t, func(t *testing.T) dcstest.Harness { return harness(t, endpoints(all)...) })
}

// The numbers of SAFETY section 2 at ttl 5: a renewal is due every second, and
// the guard acts 4.5 s after the last one that counted.
func TestAKilledEtcdLeaderCostsLessThanTheDeadlineLeaves(t *testing.T) {
	all := processes(t, 3)
	kv := open(t, etcd.Options{Endpoints: endpoints(all)})
	store := dcs.NewStore(kv, "service", "x")
	ctx := within(t, 60*time.Second)
	const lease = 5 * time.Second
	settings := cluster.DefaultSettings()
	settings.TTL = lease
	s, err := store.Open(ctx, "a", lease)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Acquire(ctx, dcs.Candidacy{TTL: lease})
	if err != nil {
		t.Fatal(err)
	}
	view, err := store.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	updates := store.Watch(ctx, view)
	leader := leaderOf(t, all)
	// How long etcd itself is away is the machine's affair.
	beside := rawClient(t, endpoints(slices.DeleteFunc(slices.Clone(all), func(p *process) bool { return p == leader }))...)
	leader.kill()
	began, tries := time.Now(), 0
	back := make(chan time.Duration, 1)
	go func() {
		defer close(back)
		for ctx.Err() == nil {
			attempt, cancel := context.WithTimeout(ctx, settings.Attempt())
			_, err := beside.Put(attempt, "beside", "")
			cancel()
			if err == nil {
				back <- time.Since(began)
				return
			}
		}
	}()
	for {
		attempt, cancel := context.WithTimeout(ctx, settings.Attempt())
		err := l.Renew(attempt, lease)
		cancel()
		tries++
		if err == nil {
			break
		}
		if errors.Is(err, dcs.ErrCompared) || errors.Is(err, dcs.ErrLeaseGone) {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	away := <-back
	t.Logf("the first renewal after the kill took %s in %d attempts, etcd took a write after %s", took, tries, away)
	if most := lease - settings.Margin(0) - settings.RenewEvery(); took > most && took > away+most/2 {
		t.Errorf("took %s, the deadline leaves %s, and etcd took a write after %s", took, most, away)
	}
	// The watch goes on at another member, or says that it cannot.
	for u := range updates {
		if u.Err != nil || u.View.Beat.ModRevision > view.Beat.ModRevision {
			t.Logf("watch: error %v", u.Err)
			return
		}
	}
	t.Error("the watch said nothing")
}

func TestTheDistributionsEtcdIsNamedWhenItIsFull(t *testing.T) {
	all := processes(t, 1, "--quota-backend-bytes", "1048576")
	kv := openHealth(t, nil, all[0].url)
	fill(t, kv)
	namesNoSpace(t, kv, all[0].url)
}

func TestTheLeaderOfTheDistributionsEtcdIsMovedOffThisMachine(t *testing.T) {
	all := processes(t, 3)
	old := leaderOf(t, all)
	kv := openHealth(t, func(endpoint string) bool { return endpoint == old.url }, endpoints(all)...)
	ctx := within(t, time.Minute)
	to, err := kv.MoveLeader(ctx)
	if err != nil || to == "" {
		t.Fatalf("moved to %q: %v", to, err)
	}
	if now := leaderOf(t, all); now.url != to {
		t.Errorf("%s leads, want %s", now.url, to)
	}
}
