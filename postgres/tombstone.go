package postgres

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The kinds of work that leave a tombstone.
const (
	// TombstoneInit and TombstoneClone: the directory was empty before, so what
	// that work has left in it is nobody's good copy.
	TombstoneInit  = "init"
	TombstoneClone = "clone"
	// TombstoneRewind: the directory was good before and is a mixture now.
	TombstoneRewind = "rewind"
)

// Tombstone marks a data directory on which work began and did not end. It lies
// in the state directory and survives a reboot.
type Tombstone struct {
	Kind string `json:"kind"`
	// Since is when the work began, for people.
	Since string `json:"since,omitempty"`
	// Source is host:port of the server copied from.
	Source string `json:"source,omitempty"`
	// Label is that of the backup which a clone takes, SystemID the identifier of the
	// cluster that an initdb has made, once it has: what they left is known by them.
	Label    string `json:"label,omitempty"`
	SystemID string `json:"system_id,omitempty"`
}

func (s *Server) tombstonePath() string { return filepath.Join(s.o.StateDir, "tombstone") }

// Tombstone returns the mark of interrupted work, nil when there is none.
func (s *Server) Tombstone() (*Tombstone, error) {
	content, found, err := readOptional(s.tombstonePath())
	if err != nil || !found {
		return nil, err
	}
	var t Tombstone
	if err := json.Unmarshal(content, &t); err != nil {
		// It is there, so work was interrupted; nothing more may be concluded.
		return &Tombstone{Kind: TombstoneRewind, Source: "unreadable"}, nil //nolint:nilerr // see above
	}
	return &t, nil
}

// bury writes the tombstone, durably.
func (s *Server) bury(t Tombstone) error {
	t.Since = cmp.Or(t.Since, s.stamp(time.RFC3339))
	content, err := json.Marshal(t)
	if err != nil {
		return err
	}
	write := func() error { return writeFile(s.tombstonePath(), append(content, '\n'), 0o600) }
	if err = write(); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = errors.Join(removeFile(s.sparePath()), write())
	}
	if err != nil {
		return fmt.Errorf("write the tombstone: %w", err)
	}
	return nil
}

func (s *Server) sparePath() string { return filepath.Join(s.o.StateDir, "spare") }

// keepSpare keeps room for a tombstone on the disk of the state directory: the old
// directory that fills it is removed under one. Where there is no room now there may be
// some before the next job.
func (s *Server) keepSpare() {
	content := make([]byte, 16<<10)
	if info, err := os.Stat(s.sparePath()); err == nil && info.Size() == int64(len(content)) {
		return
	}
	_, _ = rand.Read(content) // which no file system compresses
	if err := writeFile(s.sparePath(), content, 0o600); err != nil {
		s.o.Log.Debug("no room kept for a tombstone", "error", err)
	}
}

// unbury removes the tombstone; the work it stood for is durable.
func (s *Server) unbury() error {
	if err := os.Remove(s.tombstonePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the tombstone: %w", err)
	}
	return syncDir(s.o.StateDir)
}

// stamp is the time of day in words; empty without a wall clock.
func (s *Server) stamp(layout string) string {
	if s.o.Wall == nil {
		return ""
	}
	return s.o.Wall().UTC().Format(layout)
}

// ensureState makes the state directory. It is ours; the server's user may enter
// it, because the password file of its WAL receiver lies there.
func (s *Server) ensureState() error {
	if err := os.MkdirAll(s.o.StateDir, 0o711); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if s.owner.self {
		return nil
	}
	info, err := os.Stat(s.o.StateDir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o011 != 0o011 {
		return os.Chmod(s.o.StateDir, mode|0o011)
	}
	return nil
}

// lockJob takes the lock of the data directory for one job. The lock is held by
// an open file that the job's children inherit: a child that outlives us keeps a
// new agent from working on the same directory.
func (s *Server) lockJob() (*os.File, error) {
	if err := s.ensureState(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.o.StateDir, "job.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the job lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s: another initdb, clone or rewind holds %s", ErrBusy, s.o.DataDir, f.Name())
		}
		return nil, fmt.Errorf("take the job lock: %w", err)
	}
	s.keepSpare()
	return f, nil
}
