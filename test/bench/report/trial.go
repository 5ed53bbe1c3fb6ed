package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Keeper and Patroni name the systems that are measured.
const (
	Keeper  = "pgkeeper"
	Patroni = "patroni"
)

// Trial is one measurement: one line of the file.
type Trial struct {
	Row    string `json:"row"`
	System string `json:"system"`
	// Build is what was measured: the commit for pgkeeper, the version for a peer.
	Build string `json:"build"`
	// Trial counts from 1 within row, system and build.
	Trial int `json:"trial"`
	// At is when it ended, UTC, RFC 3339.
	At string `json:"at"`
	// Value is in the row's unit.
	Value float64 `json:"value"`
	// Case names which fault it was, where a row has several.
	Case string `json:"case,omitempty"`
	// Load is the machine's load average over one minute when the trial began.
	Load float64 `json:"load"`
	// Disturbed: the machine itself stalled during the trial, which was made again; it does not count.
	Disturbed bool `json:"disturbed,omitempty"`
	// Detail is whatever else was seen: seconds unless a key says otherwise.
	Detail map[string]any `json:"detail,omitempty"`
}

// Read is the file's trials. A file that does not exist has none; a last line that a crash cut short is left out.
func Read(path string) ([]Trial, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	complete := bytes.LastIndexByte(raw, '\n') + 1
	var trials []Trial
	lines := bufio.NewScanner(bytes.NewReader(raw[:complete]))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var t Trial
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return nil, fmt.Errorf("results %s, line %d: %w", path, n, err)
		}
		trials = append(trials, t)
	}
	return trials, lines.Err()
}

// Append adds one trial to the file, which is created with its folder when it does not exist.
func Append(path string, t Trial) error {
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode a trial of %s: %w", t.Row, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the results: %w", err)
	}
	if err := mend(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the results: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// mend cuts off a last line that a crash left without its end.
func mend(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (len(raw) == 0 || raw[len(raw)-1] == '\n') {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the results: %w", err)
	}
	return os.Truncate(path, int64(bytes.LastIndexByte(raw, '\n')+1))
}

// Done is the set of trials of one row that the file has already, and that count.
func Done(trials []Trial, row, system, build string) map[int]bool {
	done := map[int]bool{}
	for _, t := range trials {
		if t.Row == row && t.System == system && t.Build == build && !t.Disturbed {
			done[t.Trial] = true
		}
	}
	return done
}
