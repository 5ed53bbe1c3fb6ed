//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

const (
	// sickTTL is long, so that a take-over within probe_timeout is no expired lease.
	sickTTL = 20 * time.Second
	// sickProbe is probe_timeout here.
	sickProbe = 3 * time.Second
	// sickSlack is what a machine that is busy with other tests may need beyond
	// probe_timeout to find a try failed and elect.
	sickSlack = 10 * time.Second
)

// sickBed is a cluster that can be made sick: with volumes, each node has an ext4 of its
// own below its data.
func sickBed(t *testing.T, ttl time.Duration, volumes bool) (*bedtest.Bed, *testbed.Node, *bedtest.Observed) {
	t.Helper()
	return sickBedWith(t, ttl, sickProbe, volumes)
}

// sickBedWith is sickBed with another probe_timeout.
func sickBedWith(t *testing.T, ttl, probe time.Duration, volumes bool) (*bedtest.Bed, *testbed.Node, *bedtest.Observed) {
	t.Helper()
	o := testbed.Options{TTL: ttl, Dynamic: map[string]any{"probe_timeout": probe.Seconds()}}
	if volumes {
		if os.Geteuid() != 0 {
			t.Skip("mounting a file system needs root")
		}
		onVolumes(&o)
	}
	b := bedtest.New(t, o)
	return b, b.Healthy(10 * time.Second), b.Observe()
}

const volumeSize = 512 << 20

// onVolumes puts each node's folder on a file system of its own.
func onVolumes(o *testbed.Options) {
	v := &testbed.Volumes{}
	o.Folder, o.Release = func(_, dir string) error { return v.Mount(dir, volumeSize, 0o755) }, v.Unmount
}

// signalServer sends a signal to the postmaster and all its children.
func signalServer(t *testing.T, postmaster int, s unix.Signal) {
	t.Helper()
	pids := []int{postmaster}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", postmaster)) // the pattern is well formed
	for _, list := range lists {
		text, _ := os.ReadFile(list) // one that has ended has no children
		for child := range strings.FieldsSeq(string(text)) {
			if id, err := strconv.Atoi(child); err == nil {
				pids = append(pids, id)
			}
		}
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, s); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
	}
}

// replaced waits for another primary, and wants the client to have waited for no longer
// than the limit.
func replaced(b *bedtest.Bed, old *testbed.Node, o *bedtest.Observed, limit time.Duration) {
	b.T().Helper()
	b.Primary(limit+10*time.Second, old)
	o.Resumed(10 * time.Second)
	o.GapAtMost(limit)
}

// whole waits until the sick node follows again, and judges the run.
func whole(b *bedtest.Bed, o *bedtest.Observed, mayLose time.Duration) {
	b.T().Helper()
	o.End(b.Healthy(60*time.Second), mayLose)
}

func TestAServerWithAFrozenPostmasterIsReplaced(t *testing.T) {
	t.Parallel()
	b, old, o := sickBed(t, sickTTL, false)
	o.Fault()
	b.Must(old.Freeze(testbed.Postmaster))
	replaced(b, old, o, sickProbe+sickSlack)
	whole(b, o, loseAtMost)
}

func TestAServerThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	b, old, o := sickBed(t, sickTTL, false)
	o.Fault()
	signalServer(t, pid(t, old, testbed.Postmaster), unix.SIGSTOP)
	replaced(b, old, o, sickProbe+sickSlack)
	whole(b, o, loseAtMost)
}

func TestAServerThatIsSlowOnceIsNotReplaced(t *testing.T) {
	t.Parallel()
	const probe = 8 * time.Second // the thaw may come late on a busy machine, but not this late
	b, old, o := sickBedWith(t, sickTTL, probe, false)
	o.Fault()
	postmaster := pid(t, old, testbed.Postmaster)
	signalServer(t, postmaster, unix.SIGSTOP)
	thaw := time.NewTimer(probe / 4)
	<-thaw.C
	signalServer(t, postmaster, unix.SIGCONT)
	o.Resumed(5 * time.Second)
	quiet := time.NewTimer(2 * probe) // nothing comes of it later either
	<-quiet.C
	if now := b.Healthy(10 * time.Second); now != old || pid(t, old, testbed.Postmaster) != postmaster {
		t.Errorf("the primary is %s now, want %s with the server it had", now.Name, old.Name)
	}
	o.End(old, 0)
}

func TestAServerWithAFullDiskIsReplacedWithoutLoss(t *testing.T) {
	t.Parallel()
	b, old, o := sickBed(t, sickTTL, true)
	filler := filepath.Join(filepath.Dir(old.DataDir()), "filler")
	o.Fault()
	b.Must(testbed.FillDisk(filler, volumeSize))
	replaced(b, old, o, sickProbe+sickSlack)
	b.Must(os.Remove(filler))
	whole(b, o, 0)
}

// TestAServerWithAFullTablespaceIsReplaced: data and WAL have room, and clients that write elsewhere notice nothing
// before the switch.
func TestAServerWithAFullTablespaceIsReplaced(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	space := func(n *testbed.Node) string { return filepath.Join(n.Dir(), "space") }
	location := func(n *testbed.Node) string { return filepath.Join(space(n), "extra") }
	const spaceSize = 64 << 20
	v := &testbed.Volumes{}
	b := bedtest.New(t, testbed.Options{Nodes: 1, TTL: sickTTL, Release: v.Unmount, Dynamic: map[string]any{"probe_timeout": sickProbe.Seconds()}})
	give := func(n *testbed.Node) { // a volume for tablespaces, below its folder
		b.Must(os.Mkdir(space(n), 0o755))
		b.Must(v.Mount(space(n), spaceSize, 0o755))
		b.Must(os.Mkdir(location(n), 0o700))
		info, err := os.Stat(n.Dir())
		b.Must(err)
		owner := info.Sys().(*syscall.Stat_t)
		b.Must(os.Chown(location(n), int(owner.Uid), int(owner.Gid)))
	}
	first := b.Healthy(10 * time.Second)
	give(first)
	b.Must(first.Exec(t.Context(), fmt.Sprintf("create tablespace extra location '%s'", location(first))))
	b.Must(first.Exec(t.Context(), "create table extra (id int) tablespace extra"))
	second, err := b.Add("pg2")
	b.Must(err)
	give(second)
	// Two servers on one machine: the standby's copy goes to its own volume.
	b.Must(second.Reconfigure(func(c map[string]any) {
		c["postgresql"].(map[string]any)["basebackup"] = []any{map[string]any{"tablespace-mapping": location(first) + "=" + location(second)}}
	}))
	b.Must(second.Start())
	b.Healthy(20 * time.Second)

	o := b.Observe()
	filler := filepath.Join(space(first), "filler")
	o.Fault()
	b.Must(testbed.FillDisk(filler, spaceSize))
	b.Primary(sickProbe+sickSlack+10*time.Second, first)
	o.Resumed(10 * time.Second)
	o.GapAtMost(2 * time.Second) // that of a switchover: nothing was missed before it
	b.Must(os.Remove(filler))
	whole(b, o, 0)
	b.Must(second.Exec(t.Context(), "insert into extra values (1)"))
	b.WaitText(first, "select id from extra", "1")
}

func TestASingleServerWithAFullDiskIsLeftAlone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	o := testbed.Options{Nodes: 1, TTL: shortTTL, Dynamic: map[string]any{"probe_timeout": sickProbe.Seconds()}}
	onVolumes(&o)
	b := bedtest.New(t, o)
	only := b.Healthy(10 * time.Second)
	postmaster := pid(t, only, testbed.Postmaster)
	filler := filepath.Join(filepath.Dir(only.DataDir()), "filler")
	b.Must(testbed.FillDisk(filler, volumeSize))
	b.Wait(20*time.Second, "the probe to find the disk full", func(ctx ctx) string {
		r, err := b.Cluster.Ctl(ctx, "explain", only.Name)
		if err != nil || !strings.Contains(r.Out, "the disk is full") {
			return fmt.Sprint(r, err)
		}
		return ""
	})
	quiet := time.NewTimer(3 * sickProbe)
	<-quiet.C
	if s := status(b, only); s.State != "running" || pid(t, only, testbed.Postmaster) != postmaster {
		t.Errorf("the server is %s, and was not left alone", s.State)
	}
	b.Must(os.Remove(filler))
	b.Healthy(20 * time.Second)
}

func TestAServerWithAStalledDiskIsReplacedAfterItsLease(t *testing.T) {
	t.Parallel()
	b, old, o := sickBed(t, shortTTL, true)
	dir := filepath.Dir(old.DataDir())
	o.Fault()
	if out, err := exec.Command("fsfreeze", "--freeze", dir).CombinedOutput(); err != nil {
		t.Fatalf("freeze %s: %v: %s", dir, err, out)
	}
	thaw := func() { _ = exec.Command("fsfreeze", "--unfreeze", dir).Run() } // by now it may be thawed
	t.Cleanup(thaw)
	b.Primary(sickProbe+shortTTL+sickSlack+10*time.Second, old)
	o.Resumed(10 * time.Second)
	o.GapAtMost(sickProbe + shortTTL + sickSlack)
	thaw()
	whole(b, o, loseAtMost)
}
