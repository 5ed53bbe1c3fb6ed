//go:build bench

package bench

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// root is the repository's folder, seen from here.
const root = "../.."

// options is what the environment asks for.
type options struct {
	rows   []report.Row
	trials int
	peer   bool
	out    string
	// idle is how long an idle cluster's etcd requests are counted.
	idle time.Duration
	// every is how often a row of a client is due. Rows that count what is lost can go with fewer on a small machine.
	every time.Duration
	// logs, when set, is a folder for what the nodes logged around each fault.
	logs string
	// program is what is measured, build its name.
	program, build string
}

func readOptions() (options, error) {
	o := options{trials: 10, out: filepath.Join(root, "bench-results", "results.jsonl"), idle: 5 * time.Minute, every: 5 * time.Millisecond, logs: os.Getenv("BENCH_LOGS")}
	if v := os.Getenv("BENCH_OUT"); v != "" {
		o.out = v
	}
	if v := os.Getenv("BENCH_TRIALS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return o, fmt.Errorf("TRIALS=%s: want a number of at least 1", v)
		}
		o.trials = n
	}
	if v := os.Getenv("BENCH_IDLE"); v != "" {
		minutes, err := strconv.ParseFloat(v, 64)
		if err != nil || minutes <= 0 {
			return o, fmt.Errorf("BENCH_IDLE=%s: want minutes", v)
		}
		o.idle = time.Duration(minutes * float64(time.Minute))
	}
	if v := os.Getenv("BENCH_EVERY"); v != "" {
		var err error
		if o.every, err = time.ParseDuration(v); err != nil || o.every <= 0 {
			return o, fmt.Errorf("BENCH_EVERY=%s: want a duration, as in 20ms", v)
		}
	}
	switch v := os.Getenv("BENCH_PEER"); v {
	case "":
	case report.Patroni:
		o.peer = true
	default:
		return o, fmt.Errorf("PEER=%s: the only peer is patroni", v)
	}
	if os.Getenv("BENCH_FRESH") != "" {
		if err := os.Rename(o.out, o.out+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return o, fmt.Errorf("put the old results aside: %w", err)
		}
	}
	var err error
	if o.rows, err = readRows(os.Getenv("BENCH_ROWS")); err != nil {
		return o, err
	}
	o.program = os.Getenv(testbed.BinaryVariable)
	o.build, err = buildID(o.program)
	return o, err
}

// readRows picks the rows named, all but the slow ones when none is; "all" is all of them.
func readRows(names string) ([]report.Row, error) {
	fields := strings.FieldsFunc(names, func(r rune) bool { return r == ' ' || r == ',' })
	if len(fields) == 1 && fields[0] == "all" {
		return report.Rows(), nil
	}
	var rows []report.Row
	if len(fields) == 0 {
		for _, r := range report.Rows() {
			if !r.Slow {
				rows = append(rows, r)
			}
		}
		return rows, nil
	}
	for _, name := range fields {
		r, ok := report.Find(name)
		if !ok {
			var known []string
			for _, r := range report.Rows() {
				known = append(known, r.ID)
			}
			return nil, fmt.Errorf("ROWS: there is no row %q; there are: %s, and all", name, strings.Join(known, " "))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// buildID names the program that is measured: the commit that it says it was built from, and a part of its hash, since
// the working tree may have differed. Builds are reproducible: one commit has one hash.
func buildID(program string) (string, error) {
	raw, err := os.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("read the program to measure: %w (make bench builds it)", err)
	}
	said, err := exec.Command(program, "version").Output() //nolint:noctx // short
	if err != nil {
		return "", fmt.Errorf("ask the program for its version: %w", err)
	}
	sum := sha256.Sum256(raw)
	return strings.TrimPrefix(builtFrom.FindString(string(said))+"+"+hex.EncodeToString(sum[:4]), "+"), nil
}

// builtFrom is the commit in what the program says about itself.
var builtFrom = regexp.MustCompile(`\b[0-9a-f]{12}\b`)

// trialsOf is how many trials a row gets.
func (o options) trialsOf(r report.Row) int {
	if r.Trials > 0 {
		return min(r.Trials, o.trials)
	}
	return o.trials
}
