package agent

import (
	"os/exec"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// process runs until it is killed, which the test's end does.
func process(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("cat")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = c.Wait() })
	return c
}

func TestTheEndOfAWalsenderIsHeardOf(t *testing.T) {
	gone := make(chan struct{}, 4)
	s := newSenders(func() { gone <- struct{}{} })
	one, other, former := process(t), process(t), process(t)
	sender := func(c *exec.Cmd) cluster.Walsender { return cluster.Walsender{PID: c.Process.Pid} }
	s.watch([]cluster.Walsender{sender(one), sender(other), sender(former), {PID: 0}})
	s.watch([]cluster.Walsender{sender(one), sender(other)}) // a look that found the third no more
	if len(s.watched) != 2 {
		t.Fatalf("%d are watched, want 2", len(s.watched))
	}
	if err := former.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = former.Wait()
	if err := one.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-clock.Timer(time.Minute).C:
		t.Fatal("nobody said that it has ended")
	}
	s.watch([]cluster.Walsender{sender(other)})
	if len(gone) != 0 || len(s.watched) != 1 {
		t.Errorf("%d ends too many, %d watched", len(gone), len(s.watched))
	}
	s.watch(nil)
}

// TestALostWalsenderIsLookedForAtOnce: commits may wait for its standby.
func TestALostWalsenderIsLookedForAtOnce(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.look(cluster.ModePrimary)
	if looks := find[Look](r.step(Tick{})); len(looks) != 0 {
		t.Fatal("it looks all the time")
	}
	r.pass(2 * time.Millisecond)
	if looks := find[Look](r.step(SenderGone{})); len(looks) != 1 {
		t.Errorf("%d looks, want one at once", len(looks))
	}
}
