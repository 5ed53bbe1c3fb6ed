//go:build bench

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// programs are the bench's own, built once.
type programs struct {
	writer, load, client string
	// every is how often a row of a writer is due.
	every time.Duration
}

func buildPrograms(ctx context.Context, dir string, every time.Duration) (programs, error) {
	p := programs{every: every, writer: filepath.Join(dir, "writer"), load: filepath.Join(dir, "load"), client: filepath.Join(dir, "client")}
	for path, pkg := range map[string]string{p.writer: "./writer", p.load: "./load", p.client: "github.com/pgkeeper/pgkeeper/test/pgrw/client"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("build %s: %w: %s", pkg, err, said)
		}
	}
	return p, nil
}

// writerReport is writer.Report as the harness reads it.
type writerReport struct {
	Gap     float64 `json:"gap"`
	GapAt   float64 `json:"gap_at"`
	Late    float64 `json:"late"`
	Acked   int     `json:"acked"`
	Failed  int     `json:"failed"`
	Quiet   float64 `json:"quiet"`
	Trouble []struct {
		Error string  `json:"error"`
		Count int     `json:"count"`
		First float64 `json:"first"`
		Last  float64 `json:"last"`
	} `json:"trouble"`
}

// behind: the client owed rows when it had long been writing again, so that it could not keep its own pace. Something took
// what it needs, and its gap is longer than an idle machine's.
func (r writerReport) behind() bool { return r.Late > 1.5*r.Gap+0.1 }

// overlapReport is writer.Overlap likewise.
type overlapReport struct {
	Overlap  float64 `json:"overlap"`
	Writable map[string][]struct {
		From float64 `json:"from"`
		To   float64 `json:"to"`
		Acks int     `json:"acks"`
	} `json:"writable"`
}

// writer is a running writer process.
type writer struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

// startWriter starts one; more are further flags, of which the last of a name counts.
func (p programs) startWriter(dsn string, more ...string) (*writer, error) {
	run := strconv.FormatInt(time.Now().UnixNano(), 10)
	return p.spawn(append([]string{"-dsn", dsn, "-run", run, "-every", p.every.String()}, more...)...)
}

// watchMachine starts one that only looks how the machine stalls.
func (p programs) watchMachine(dir string) (*writer, error) { return p.spawn("-machine", dir) }

func (p programs) spawn(args ...string) (*writer, error) {
	w := &writer{cmd: exec.Command(p.writer, args...)} //nolint:noctx // ends with its input
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.answers = bufio.NewScanner(out)
	w.answers.Buffer(nil, 16<<20)
	return w, w.cmd.Start()
}

func (w *writer) ask(line string, into any) error {
	if _, err := fmt.Fprintln(w.in, line); err != nil {
		return fmt.Errorf("ask the writer: %w", err)
	}
	if !w.answers.Scan() {
		return errors.Join(errors.New("the writer ended"), w.answers.Err())
	}
	return json.Unmarshal(w.answers.Bytes(), into)
}

func (w *writer) report(since time.Time) (r writerReport, err error) {
	return r, w.ask("report "+strconv.FormatInt(since.UnixNano(), 10), &r)
}

// stall is writer.Stall.
type stall struct {
	Fsync float64 `json:"fsync"`
	Late  float64 `json:"late"`
}

// The machine stalled when a bare file's fsync took that long, seconds, or a process was woken so late.
const (
	fsyncStall = 0.15
	wakeStall  = 0.1
)

func (s stall) much() bool { return s.Fsync > fsyncStall || s.Late > wakeStall }

func (w *writer) stall(since time.Time) (r stall, err error) {
	return r, w.ask("report "+strconv.FormatInt(since.UnixNano(), 10), &r)
}

func (w *writer) overlap(since time.Time) (r overlapReport, err error) {
	return r, w.ask("report "+strconv.FormatInt(since.UnixNano(), 10), &r)
}

// missing counts acknowledged rows that are gone.
func (w *writer) missing() (int, error) {
	var r struct {
		Missing int    `json:"missing"`
		Error   string `json:"error"`
	}
	err := w.ask("verify", &r)
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	return r.Missing, err
}

func (w *writer) stop() error {
	return errors.Join(w.in.Close(), w.cmd.Wait())
}

// loadResult is load.Result as the harness reads it.
type loadResult struct {
	Requests   int            `json:"requests"`
	Errors     int            `json:"errors"`
	Rate       float64        `json:"rate"`
	P50        float64        `json:"p50"`
	P99        float64        `json:"p99"`
	P999       float64        `json:"p999"`
	Max        float64        `json:"max"`
	Status     map[string]int `json:"status"`
	Reconnects int            `json:"reconnects"`
}

func (p programs) get(ctx context.Context, m member, rate int, length time.Duration) (r loadResult, err error) {
	out, err := exec.CommandContext(ctx, p.load, "-addr", m.api(), "-path", "/primary", "-conns", "16",
		"-rate", strconv.Itoa(rate), "-duration", length.String()).Output()
	if err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	return r, json.Unmarshal(out, &r)
}
