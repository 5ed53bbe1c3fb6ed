package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Stall is how long the machine itself stood still, as a process sees it that has nothing to do with the cluster.
type Stall struct {
	// Fsync is the longest that 8 KiB of a file of our own took to reach the disk, seconds.
	Fsync float64 `json:"fsync"`
	// Late is the longest that we woke after we wanted to, seconds.
	Late float64 `json:"late"`
}

// machine writes and sleeps, and notes how long both take.
type machine struct {
	every time.Duration
	file  *os.File
	mu    sync.Mutex
	seen  []stalled
}

type stalled struct {
	at          time.Time
	fsync, late time.Duration
}

func newMachine(dir string, every time.Duration) (*machine, error) {
	f, err := os.Create(filepath.Join(dir, "machine"))
	if err != nil {
		return nil, fmt.Errorf("make a file to write to: %w", err)
	}
	return &machine{every: every, file: f}, nil
}

func (m *machine) run(ctx context.Context) {
	defer m.file.Close()
	page := make([]byte, 8<<10)
	for ctx.Err() == nil {
		due := time.Now().Add(m.every)
		sleepUntil(ctx, due)
		woke := time.Now()
		if _, err := m.file.WriteAt(page, 0); err != nil {
			return
		}
		if err := m.file.Sync(); err != nil {
			return
		}
		m.note(stalled{at: time.Now(), fsync: time.Since(woke), late: woke.Sub(due)})
	}
}

// notable stalls are kept; shorter ones are everyday.
const notable = 20 * time.Millisecond

func (m *machine) note(s stalled) {
	if s.fsync < notable && s.late < notable {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, s)
}

// report is the longest of each since the moment.
func (m *machine) report(since time.Time) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s Stall
	for _, x := range m.seen {
		if x.at.After(since) {
			s.Fsync, s.Late = max(s.Fsync, x.fsync.Seconds()), max(s.Late, x.late.Seconds())
		}
	}
	return s
}

func (m *machine) verify(context.Context) (any, error) { return nil, errors.New("there are no rows") }
