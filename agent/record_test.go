package agent

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/recorder"
)

// TestEveryStepIsRecordedAndReplays: what the driver records is what Decide saw,
// before the effects of the decision changed it.
func TestEveryStepIsRecordedAndReplays(t *testing.T) {
	dir := t.TempDir()
	steps := 0
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		r := newRig(t)
		loop := NewLoop(r.loop.id, nil, Memory{}, nil, parseTest, r.loop.log, p.boot())
		d := NewDriver(loop, p, nil, r.loop.log)
		d.read = func() clock.Reading { return clock.Reading{Boot: p.boot(), Wall: clock.Wall()} }
		d.RecordTo(recorder.New(recorder.Options{Dir: dir, Head: recorder.Head{Member: "pg1"}}))
		record := loop.decided
		loop.OnDecision(func(r clock.Reading, o *election.Observation, decision election.Decision) {
			steps++
			record(r, o, decision)
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { d.Run(ctx); close(ended) }()
		d.Post(ctx, GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", Writable: true}}})
		r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 60}
		r.view.Holder = &cluster.Holder{Name: "pg1", Node: "node1", Instance: "i1", BootID: "boot"}
		r.view.Beat = &cluster.Beat{TTL: 5000, Term: 60, ModRevision: 60}
		r.view.Revision = 60
		d.Post(ctx, ViewSeen{View: r.view})
		clock.Sleep(nil, 20*time.Second)
		cancel()
		<-ended
	})
	names, err := recorder.Files(dir)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	file, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if checked, first, err := recorder.Replay(file); checked != steps || steps < 50 || first != nil || err != nil {
		t.Errorf("%d of %d steps checked, %v, %v", checked, steps, first, err)
	}
}

// BenchmarkStep is what one step of a quiet primary costs, with and without the
// recorder.
func BenchmarkStep(b *testing.B) {
	for name, record := range map[string]bool{"alone": false, "recorded": true} {
		b.Run(name, func(b *testing.B) {
			r := newRig(&testing.T{})
			r.primary()
			d := NewDriver(r.loop, nil, nil, r.loop.log)
			if record {
				d.RecordTo(recorder.New(recorder.Options{Dir: b.TempDir()}))
				defer d.writeRecording()()
			}
			node := r.loop.obs.Node.Value
			for b.Loop() {
				r.pass(50 * time.Millisecond)
				node.WriteLSN++
				r.step(Looked{At: r.now, Node: node, Instance: "i1"})
				_ = r.loop.Status(0)
				r.settle()
			}
		})
	}
}
