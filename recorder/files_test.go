package recorder

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func recorderAt(dir string, change ...func(*Options)) *Recorder {
	o := Options{Dir: dir, Head: Head{Version: "1", Member: "a"}}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

// runThrough records steps and ends the recorder.
func runThrough(t *testing.T, r *Recorder, steps ...Step) {
	t.Helper()
	for _, s := range steps {
		r.Record(s)
	}
	done := make(chan struct{})
	close(done)
	r.Run(done)
}

func replayAll(t *testing.T, dir string) (checked int, gap int64) {
	t.Helper()
	names, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := each(name, func(step Recorded) {
			if d := step.Check(); d != nil {
				t.Error(d)
			}
			checked, gap = checked+1, gap+step.Gap
		}); err != nil {
			t.Fatal(err)
		}
	}
	return checked, gap
}

func drawn(n int) []Step {
	r := rand.New(rand.NewPCG(8, 8))
	steps := make([]Step, n)
	for i := range steps {
		steps[i] = decided(observation(r))
	}
	return steps
}

func TestARestartGoesOnInTheSameFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Folder)
	runThrough(t, recorderAt(dir), drawn(3)...)
	runThrough(t, recorderAt(dir), drawn(2)...)
	if names, _ := Files(dir); len(names) != 1 {
		t.Errorf("two short runs made %v", names)
	}
	if checked, gap := replayAll(t, dir); checked != 5 || gap != 0 {
		t.Errorf("%d steps with a gap of %d, want 5 without", checked, gap)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "steps-00000001.jsonl"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	small := func(o *Options) { o.FileBytes, o.TotalBytes = 20<<10, 100<<10 }
	runThrough(t, recorderAt(dir, small), drawn(queued)...)
	names, err := Files(dir)
	if err != nil || len(names) < 3 || number(names[0]) == 1 {
		t.Fatalf("%v, %v: want several, and the first ones gone", names, err)
	}
	var total int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 110<<10 { // one step may pass a limit
		t.Errorf("%d bytes in %d files", total, len(names))
	}
	if checked, _ := replayAll(t, dir); checked == 0 {
		t.Error("nothing is left")
	}
}

// TestRecordNeverWaits: nobody writes, and every step is taken all the same; the
// lost ones are counted.
func TestRecordNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a wait would be a deadlock here
		dir := t.TempDir()
		r := recorderAt(dir)
		steps := drawn(3)
		for i := range queued + 100 {
			r.Record(steps[i%3])
		}
		runThrough(t, r)
		r.Record(steps[0])
		runThrough(t, r)
		if checked, gap := replayAll(t, dir); checked != queued+1 || gap != 100 {
			t.Errorf("%d steps with a gap of %d, want %d and 100", checked, gap, queued+1)
		}
	})
}

func TestAFullDiskCostsStepsOnly(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	dir := t.TempDir()
	full := filepath.Join(dir, "steps-00000001.jsonl")
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	r := recorderAt(dir)
	runThrough(t, r, drawn(4)...)
	if !r.files.failing || r.dropped.Load() != 4 {
		t.Errorf("failing %v, %d dropped, want 4", r.files.failing, r.dropped.Load())
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	runThrough(t, r, drawn(2)...)
	if checked, gap := replayAll(t, dir); checked != 2 || gap != 4 || r.files.failing {
		t.Errorf("%d steps with a gap of %d, want 2 and 4", checked, gap)
	}
}

func TestTheLatestStepKnowsSinceWhenItsReasonStands(t *testing.T) {
	dir := t.TempDir()
	steps := drawn(1)
	var all []Step
	for i, reason := range []cluster.Reason{"following", "following", "leading", "leading", "leading"} {
		s := steps[0]
		s.Observation.Now, s.Decision.Reason = cluster.Instant(i+1)*cluster.Instant(time.Second), reason
		s.Wall = time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC)
		all = append(all, s)
	}
	r := recorderAt(dir)
	runThrough(t, r, all...)
	if l := r.Latest(); l.Since != cluster.Instant(3*time.Second) || l.Observation.Now != cluster.Instant(5*time.Second) {
		t.Errorf("since %d at %d", l.Since, l.Observation.Now)
	}
	last, since, err := Last(dir)
	if err != nil || last.Reason() != "leading" || !last.Wall.Equal(all[4].Wall) || !since.Wall.Equal(all[2].Wall) {
		t.Errorf("%v since %v: %v", last.Wall, since.Wall, err)
	}
	if _, _, err := Last(t.TempDir()); err == nil {
		t.Error("an empty folder has a last step")
	}
}

// TestAMistakeInTheRecorderCostsStepsOnly: the worker must outlive it.
func TestAMistakeInTheRecorderCostsStepsOnly(t *testing.T) {
	r := recorderAt(t.TempDir())
	r.files.dir, r.files.now, r.files.limit = "", &os.File{}, 1<<20 // its writer is nil
	runThrough(t, r, drawn(2)...)
	if !r.files.failing || r.dropped.Load() != 2 {
		t.Errorf("failing %t, %d dropped", r.files.failing, r.dropped.Load())
	}
}

// BenchmarkRecordAlone is what the loop pays for a step.
func BenchmarkRecordAlone(b *testing.B) {
	r := recorderAt(b.TempDir())
	s := drawn(1)[0]
	for b.Loop() {
		r.Record(s)
		if len(r.queue) == queued {
			drain(r)
		}
	}
}

// drain takes what is queued without writing it.
func drain(r *Recorder) {
	for len(r.queue) > 0 {
		<-r.queue
	}
}

func BenchmarkRecord(b *testing.B) {
	r := recorderAt(b.TempDir())
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { r.Run(done); close(ended) }()
	s := drawn(1)[0]
	for b.Loop() {
		s.Observation.Now++
		r.Record(s)
	}
	b.StopTimer()
	close(done)
	<-ended
}

func BenchmarkWrite(b *testing.B) {
	f := newFiles(Options{Dir: b.TempDir()})
	s := drawn(1)[0]
	for b.Loop() {
		s.Observation.Now++
		s.Observation.Node.Value.WriteLSN++
		step := s // what was given away is not changed
		if err := f.write(&step, 0); err != nil {
			b.Fatal(err)
		}
	}
}
