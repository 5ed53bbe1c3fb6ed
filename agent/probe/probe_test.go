package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

const second = cluster.Instant(time.Second)

// postmaster listens where a server's socket would be and does with each connection
// what answer says.
func postmaster(t *testing.T, answer func(net.Conn)) Spec {
	t.Helper()
	dir, err := os.MkdirTemp("", "probe") //nolint:usetesting // the path of a socket must be short, and tests have long names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	spec := Spec{SocketDir: dir, Port: "5432", User: "u", Database: "d", Patience: time.Second}
	if answer == nil {
		return spec
	}
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()
	return spec
}

// TestOnlySilenceIsAServerThatHangs: any word is an answer, also none at all where
// nobody listens, or where somebody hangs up.
func TestOnlySilenceIsAServerThatHangs(t *testing.T) {
	const startup = "\x00\x00\x00\x3b\x00\x03\x00\x00user\x00u\x00database\x00d\x00application_name\x00pgkeeper probe\x00\x00"
	for name, c := range map[string]struct {
		answer func(net.Conn)
		want   cluster.Ailment
	}{
		"it never answers": {func(net.Conn) {}, cluster.AilmentHung},
		"it asks for a password": {func(conn net.Conn) {
			got := make([]byte, 256)
			n, _ := conn.Read(got)
			if string(got[:n]) != startup {
				t.Errorf("the probe says %q, want %q", got[:n], startup)
			}
			_, _ = conn.Write([]byte("R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"))
			if n, err := conn.Read(got); !errors.Is(err, io.EOF) {
				t.Errorf("the probe says %q (%v) to that, want it to hang up, which is no line in the log", got[:n], err)
			}
		}, ""},
		"it trusts whom it knows": {func(conn net.Conn) {
			got := make([]byte, 256)
			_, _ = conn.Read(got)
			_, _ = conn.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00"))
			_, _ = conn.Write([]byte("K\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x02Z\x00\x00\x00\x05I"))
			if n, _ := conn.Read(got); string(got[:n]) != "X\x00\x00\x00\x04" {
				t.Errorf("the probe leaves with %q", got[:n])
			}
		}, ""},
		"it trusts us, and then is silent": {func(conn net.Conn) {
			_, _ = conn.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00"))
		}, cluster.AilmentHung},
		"it refuses":     {func(conn net.Conn) { _, _ = conn.Write([]byte("E\x00\x00\x00\x05\x00")) }, ""},
		"it hangs up":    {func(conn net.Conn) { _ = conn.Close() }, ""},
		"nobody listens": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := postmaster(t, c.answer)
			patience := 30 * time.Second
			if c.want == cluster.AilmentHung {
				patience = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, f := spec.knock(ctx); f.ailment != c.want || f.idle {
				t.Errorf("found %+v, want %q", f, c.want)
			}
		})
	}
	if f := refused(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EAGAIN)}); f.ailment != cluster.AilmentHung {
		t.Errorf("a queue that is full: %+v", f)
	}
}

// dataDir is a data directory as far as the probe looks at it.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"base", "global", "pg_wal"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"postmaster.pid", "global/pg_control"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestADiskIsWrittenToWhileAServerRunsThere(t *testing.T) {
	d := &disk{dataDir: dataDir(t)}
	for range 2 {
		if f := d.data(t.Context()); f != (finding{}) {
			t.Fatalf("found %+v", f)
		}
	}
	info, err := os.Stat(filepath.Join(d.dataDir, dataFile))
	if err != nil || info.Size() != 0 {
		t.Errorf("the probe's file is left with %v bytes (%v), want none", info, err)
	}
	if f := d.wal(t.Context()); !f.idle {
		t.Errorf("the WAL is on the same volume, and was probed all the same: %+v", f)
	}
	if _, err := os.Stat(filepath.Join(d.dataDir, walFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file lies in pg_wal: %v", err)
	}
	if err := os.Remove(filepath.Join(d.dataDir, "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	if f := d.data(t.Context()); !f.idle {
		t.Errorf("no server runs, and the disk is probed: %+v", f)
	}
	if err := os.RemoveAll(d.dataDir); err != nil {
		t.Fatal(err)
	}
	if f := d.data(t.Context()); f.ailment != cluster.AilmentGone {
		t.Errorf("the directory went away: %+v", f)
	}
}

// TestAWALVolumeOfItsOwnIsProbed where the machine has a second file system to write to.
func TestAWALVolumeOfItsOwnIsProbed(t *testing.T) {
	d := &disk{dataDir: dataDir(t)}
	other, err := os.MkdirTemp("/dev/shm", "probe") //nolint:usetesting // it must be on another file system
	if err != nil {
		t.Logf("no second file system: %v", err)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	wal := filepath.Join(d.dataDir, "pg_wal")
	if err := errors.Join(os.Remove(wal), os.Symlink(other, wal)); err != nil {
		t.Fatal(err)
	}
	if f := d.wal(t.Context()); f != (finding{}) {
		t.Errorf("found %+v", f)
	}
	if _, err := os.Stat(filepath.Join(other, filepath.Base(walFile))); err != nil {
		t.Errorf("nothing was written: %v", err)
	}
}

// TestTablespacesOnVolumesOfTheirOwnAreProbed: each volume once, and nothing is left there.
func TestTablespacesOnVolumesOfTheirOwnAreProbed(t *testing.T) {
	d := &disk{dataDir: dataDir(t)}
	spaces := filepath.Join(d.dataDir, "pg_tblspc")
	if f := d.tablespaces(t.Context()); !f.idle {
		t.Errorf("there is no folder of tablespaces: %+v", f)
	}
	here := t.TempDir()
	if err := errors.Join(os.Mkdir(spaces, 0o700), os.Symlink(here, filepath.Join(spaces, "16400")),
		os.Symlink(filepath.Join(here, "nowhere"), filepath.Join(spaces, "16401"))); err != nil {
		t.Fatal(err)
	}
	if f := d.tablespaces(t.Context()); !f.idle {
		t.Errorf("one on the volume of the data, and one that is not there: %+v", f)
	}
	other, err := os.MkdirTemp("/dev/shm", "probe") //nolint:usetesting // it must be on another file system
	if err != nil {
		t.Logf("no second file system: %v", err)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	if err := os.Symlink(other, filepath.Join(spaces, "16402")); err != nil {
		t.Fatal(err)
	}
	if f := d.tablespaces(t.Context()); f != (finding{}) {
		t.Errorf("one elsewhere: %+v", f)
	}
	if left, err := os.ReadDir(other); err != nil || len(left) > 0 {
		t.Errorf("%v is left there (%v)", left, err)
	}
	file := filepath.Join(other, tablespaceFile) // in its way, a folder: writing fails, for no reason that is an ailment
	if err := os.MkdirAll(filepath.Join(file, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if f := d.tablespaces(t.Context()); !f.idle {
		t.Errorf("what it cannot write: %+v", f)
	}
	if err := os.Remove(filepath.Join(d.dataDir, "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	if f := d.tablespaces(t.Context()); !f.idle {
		t.Errorf("no server runs: %+v", f)
	}
}

// TestADirectoryThatWasNeverServedIsNotMissed: a node that is being cloned has none.
func TestADirectoryThatWasNeverServedIsNotMissed(t *testing.T) {
	d := &disk{dataDir: filepath.Join(t.TempDir(), "nothing")}
	if f := d.data(t.Context()); !f.idle {
		t.Errorf("found %+v", f)
	}
}

func TestErrorsOfADiskAreToldApart(t *testing.T) {
	for err, want := range map[error]cluster.Ailment{
		syscall.ENOSPC: cluster.AilmentFull, syscall.EDQUOT: cluster.AilmentFull, syscall.EROFS: cluster.AilmentReadOnly,
		syscall.EIO: cluster.AilmentBroken, syscall.EACCES: "", syscall.ENOENT: "",
	} {
		if f := judge(&os.PathError{Op: "write", Path: "x", Err: err}); f.ailment != want || f.idle != (want == "") {
			t.Errorf("%v is %+v, want %q", err, f, want)
		}
	}
	if f := judge(nil); f != (finding{}) {
		t.Errorf("no error is %+v", f)
	}
}

// course is rounds of a check without a process, which write down what they say.
func course(most int) (*rounds, *[]Line) {
	var lines []Line
	r := &rounds{check: check{name: cluster.CheckData, hangs: cluster.AilmentStalled, most: most},
		spec: Spec{Patience: 5 * time.Second}, say: func(l Line) { lines = append(lines, l) }}
	return r, &lines
}

func TestATryThatHangsIsToldWhileItDoes(t *testing.T) {
	r, lines := course(1)
	r.under = []*try{{began: 10 * second}}
	r.overdue(12 * second)
	if len(*lines) != 0 {
		t.Fatalf("too early: %v", *lines)
	}
	r.overdue(12*second + 1)
	r.overdue(12*second + 2) // not with every look
	r.overdue(15 * second)
	if want := (Line{Check: cluster.CheckData, Began: 10 * second, At: 15 * second, Ailment: cluster.AilmentStalled, Detail: "no end after 5s"}); len(*lines) != 2 || (*lines)[1] != want {
		t.Fatalf("said %v, want %v", *lines, want)
	}
	r.end(ended{r.under[0], finding{}, 16 * second})
	if len(*lines) != 3 || (*lines)[2].Ailment != "" || len(r.under) != 0 {
		t.Errorf("its end is not told: %v", *lines)
	}
}

// TestRoundsKeepStep: each check that wakes the process up by itself costs as much as all
// of them do together.
func TestRoundsKeepStep(t *testing.T) {
	idle := func(context.Context) finding { return finding{idle: true} }
	for began, want := range map[cluster.Instant]cluster.Instant{
		10 * second: 11 * second, 10*second + 1: 11 * second, 11*second - 1: 11 * second, 11*second + 300: 12 * second,
	} {
		r, _ := course(1)
		r.origin, r.try, r.ended = 7*second, idle, make(chan ended, 1)
		r.start(t.Context(), began)
		if r.next != want {
			t.Errorf("a try at %v is followed by one at %v, want %v", time.Duration(began), time.Duration(r.next), time.Duration(want))
		}
	}
	r, _ := course(1)
	r.origin, r.try, r.ended, r.failed = 7*second, idle, make(chan ended, 1), true
	if r.start(t.Context(), 10*second+100e6); r.next != 10*second+600e6 {
		t.Errorf("after a failure the next try is at %v", time.Duration(r.next))
	}
}

// TestAProbeThatSleptBlamesNobody: what it waits for had no time either.
func TestAProbeThatSleptBlamesNobody(t *testing.T) {
	r, lines := course(1)
	slow := &try{began: 10 * second}
	r.under = []*try{slow}
	r.forgive(time.Minute)
	r.overdue(71 * second)
	r.end(ended{slow, finding{ailment: cluster.AilmentHung}, 71 * second})
	if len(*lines) != 0 {
		t.Errorf("said %v", *lines)
	}
	r.under = []*try{{began: 80 * second, slept: true}}
	r.overdue(85 * second)
	if len(*lines) != 1 {
		t.Errorf("one that hangs on and on is not told: %v", *lines)
	}
}

func TestSuccessesAreToldOnce(t *testing.T) {
	r, lines := course(1)
	for range 3 {
		r.under = []*try{{began: 10 * second}}
		r.end(ended{r.under[0], finding{}, 11 * second})
	}
	r.under = []*try{{began: 10 * second}}
	r.end(ended{r.under[0], finding{idle: true}, 11 * second})
	if len(*lines) != 1 {
		t.Errorf("said %v", *lines)
	}
}

// TestAFailureCountsFromTheLastSuccess: nobody knows of a moment after it when all was well.
func TestAFailureCountsFromTheLastSuccess(t *testing.T) {
	full := finding{ailment: cluster.AilmentFull}
	for name, c := range map[string]struct {
		play func(r *rounds)
		want cluster.Instant // since when the last line says that it fails
	}{
		"one after another":     {func(r *rounds) { r.end(ended{&try{began: 10 * second}, finding{}, 10*second + 1}) }, 10*second + 1},
		"none before":           {func(*rounds) {}, 11 * second},
		"nothing to try":        {func(r *rounds) { r.end(ended{&try{began: 10 * second}, finding{idle: true}, 10*second + 2}) }, 10*second + 2},
		"a success of long ago": {func(r *rounds) { r.end(ended{&try{began: second}, finding{}, 2 * second}) }, 10 * second},
		"this process slept": {func(r *rounds) {
			r.end(ended{&try{began: second}, finding{}, 2 * second})
			r.forgive(8 * time.Second)
		}, 10 * second},
	} {
		t.Run(name, func(t *testing.T) {
			r, lines := course(1)
			c.play(r)
			r.end(ended{&try{began: 11 * second}, full, 11*second + 5})
			if last := (*lines)[len(*lines)-1]; last.Ailment != cluster.AilmentFull || last.Began != c.want {
				t.Errorf("said %+v, want it to fail since %v", last, c.want)
			}
		})
	}
}

// TestAFailureThatASuccessHasOvertakenSaysNothing: of several tries under way.
func TestAFailureThatASuccessHasOvertakenSaysNothing(t *testing.T) {
	r, lines := course(5)
	first, later := &try{began: 10 * second}, &try{began: 11 * second}
	r.under = []*try{first, later}
	r.end(ended{later, finding{}, 11*second + 1})
	r.overdue(20 * second)
	r.end(ended{first, finding{ailment: cluster.AilmentHung}, 20 * second})
	if len(*lines) != 1 {
		t.Errorf("said %v", *lines)
	}
}

// TestAFailureIsToldWhenItHasLastedLongEnough, and not only with the next try.
func TestAFailureIsToldWhenItHasLastedLongEnough(t *testing.T) {
	r, lines := course(1)
	r.next = 20 * second
	r.end(ended{&try{began: 10 * second}, finding{}, 10 * second})
	r.end(ended{&try{began: 11 * second}, finding{ailment: cluster.AilmentFull}, 14*second + 700e6})
	if r.next != 15*second {
		t.Errorf("tried again at %v, want 15 s: five after the last success", time.Duration(r.next))
	}
	r.under = []*try{{began: 14 * second}, {began: 14*second + 700e6}}
	if at := r.wake(14*second + 700e6); at != 15*second {
		t.Errorf("awake at %v, want at 15 s, although the try under way has time until 16 s", time.Duration(at))
	}
	r.overdue(15*second - 1)
	if len(*lines) != 2 {
		t.Errorf("said %v", *lines)
	}
	r.overdue(15 * second)
	r.overdue(15*second + 1)
	if last := (*lines)[len(*lines)-1]; len(*lines) != 3 || last.At != 15*second || last.Began != 10*second {
		t.Errorf("said %v, want once more at 15 s", *lines)
	}
	r.under = []*try{{began: 15 * second}}
	if at := r.wake(15 * second); at != 16*second {
		t.Errorf("awake at %v, want in time for the next try at 16 s", time.Duration(at))
	}
}

// TestAProbeSaysWhatItFindsUntilItsInputEnds runs the whole of it on a server that stops
// answering.
func TestAProbeSaysWhatItFindsUntilItsInputEnds(t *testing.T) {
	silent := make(chan struct{})
	spec := postmaster(t, func(conn net.Conn) {
		select {
		case <-silent:
		default:
			_, _ = conn.Write([]byte("E\x00\x00\x00\x05\x00"))
		}
	})
	spec.DataDir, spec.Patience = dataDir(t), 500*time.Millisecond
	first, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	in, tell := io.Pipe()
	hear, out := io.Pipe()
	over := make(chan error, 1)
	go func() {
		over <- Run(t.Context(), in, out)
		_ = out.Close()
	}()
	if _, err := tell.Write(append(first, '\n')); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(hear)
	next := func(want func(Line) bool) {
		t.Helper()
		for lines.Scan() {
			var l Line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			if want(l) {
				return
			}
		}
		t.Fatal("it said no more")
	}
	well := map[cluster.CheckName]bool{}
	next(func(l Line) bool {
		well[l.Check] = l.Ailment == ""
		return well[cluster.CheckAccept] && well[cluster.CheckData]
	})
	close(silent)
	next(func(l Line) bool {
		return l.Check == cluster.CheckAccept && l.Ailment == cluster.AilmentHung && l.At.Sub(l.Began) >= spec.limit()
	})
	_ = tell.Close()
	for lines.Scan() { // what it still says
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

func TestAProbeThatIsToldNothingSensibleEnds(t *testing.T) {
	for _, text := range []string{"", "no json\n", "{}\n"} {
		in, tell := io.Pipe()
		go func() {
			_, _ = io.WriteString(tell, text)
			_ = tell.Close()
		}()
		if err := Run(t.Context(), in, io.Discard); err == nil {
			t.Errorf("%q: it ran", text)
		}
	}
}
