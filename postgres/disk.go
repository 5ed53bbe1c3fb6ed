package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Disk looks at the data directory alone: what it is, and pg_control. Mode is
// ModeStopped; whether a server runs is for the caller to know. An error means
// that nothing may be concluded.
func (s *Server) Disk(ctx context.Context) (cluster.NodeState, error) {
	if err := ctx.Err(); err != nil {
		return cluster.NodeState{}, err
	}
	_, what, err := s.remains()
	if err != nil {
		return cluster.NodeState{}, fmt.Errorf("look for a tombstone: %w", err)
	}
	n := cluster.NodeState{Mode: cluster.ModeStopped}
	err = s.owner.do(func() (err error) {
		n.Data, err = s.directory()
		if err == nil && n.Data == cluster.DataValid {
			err = s.fillDisk(&n)
		}
		return err
	})
	switch {
	case errors.Is(err, ErrControl), errors.Is(err, errBroken):
		n.Data = cluster.DataBroken
		s.o.Log.Debug("data directory is broken", "error", err)
	case err != nil:
		return cluster.NodeState{}, fmt.Errorf("look at %s: %w", s.o.DataDir, err)
	}
	if n.Data != cluster.DataEmpty {
		n.Data = what.state(n.Data)
	}
	if n.Data == cluster.DataTombstone && what == remainsDisposable { // a cluster that nobody knows, or part of a copy
		n.SystemID, n.Timeline, n.TimelineHistory = "", 0, nil
	}
	return n, nil
}

// errBroken: the directory lacks what every data directory has.
var errBroken = errors.New("incomplete data directory")

// directory tells an absent or empty directory from one with entries.
func (s *Server) directory() (cluster.DataDir, error) {
	dir, err := openRead(s.o.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return cluster.DataEmpty, nil
	}
	if err != nil {
		return cluster.DataUnknown, err
	}
	defer unix.Close(dir)
	var names []string
	for buffer := make([]byte, 4096); len(names) == 0; { // "." and ".." are no names
		n, err := uninterrupted(func() (int, error) { return unix.ReadDirent(dir, buffer) })
		if err != nil {
			return cluster.DataUnknown, &fs.PathError{Op: "readdirent", Path: s.o.DataDir, Err: err}
		}
		if n == 0 {
			return cluster.DataEmpty, nil
		}
		_, _, names = unix.ParseDirent(buffer[:n], 1, names)
	}
	return cluster.DataValid, nil
}

// fillDisk reads everything a stopped server can be asked.
func (s *Server) fillDisk(n *cluster.NodeState) error {
	major, err := s.directoryMajor()
	if err != nil {
		return err
	}
	c, err := s.readControl()
	if err != nil {
		return err
	}
	if c.StandbySignal, err = exists(s.data("standby.signal")); err != nil {
		return err
	}
	if c.State.Clean() {
		// Only then does the checkpoint's end mean anything; that it cannot be read
		// is a fact of its own, CheckpointEnd stays 0.
		if end, err := checkpointEnd(s.data("pg_wal"), c); err == nil {
			c.CheckpointEnd = end
		} else {
			s.o.Log.Debug("end of the last checkpoint is not known", "error", err)
		}
	}
	n.Control, n.SystemID, n.ServerVersion = c.ControlData, c.SystemID, major*10000
	// After a promotion the checkpoint's timeline is the old one until the next
	// checkpoint; the end-of-recovery record has set the other.
	n.Timeline = max(c.Timeline, c.MinRecoveryTLI)
	n.TimelineHistory, err = s.timelineHistory(n.Timeline)
	return err
}

// directoryMajor reads PG_VERSION.
func (s *Server) directoryMajor() (int, error) {
	content, found, err := readOptional(s.data("PG_VERSION"))
	if err != nil {
		return 0, err
	}
	major, parseErr := strconv.Atoi(strings.TrimSpace(string(content)))
	if !found || parseErr != nil {
		return 0, fmt.Errorf("%w: no readable PG_VERSION", errBroken)
	}
	return major, nil
}

// readControl reads pg_control. A running server writes it in place, so that a
// torn read is possible: it is repeated before the checksum is believed.
func (s *Server) readControl() (c Control, err error) {
	for range 5 {
		content, found, readErr := readOptional(s.data("global", "pg_control"))
		if readErr != nil {
			return Control{}, readErr
		}
		if !found {
			return Control{}, fmt.Errorf("%w: %s is missing", ErrControl, s.data("global", "pg_control"))
		}
		if c, err = ParseControl(content); err == nil || !errors.Is(err, ErrControl) {
			return c, err
		}
	}
	return Control{}, fmt.Errorf("%s: %w", s.data("global", "pg_control"), err)
}
