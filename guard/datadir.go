package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// dataFiles is the real data directory.
type dataFiles struct{}

func (dataFiles) Open(path string) (directory, error) { return openDirectory(path) }

func (dataFiles) StandbySignal(dir directory) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir.path, "standby.signal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

var historyName = regexp.MustCompile(`^[0-9A-F]{8}\.history$`)

// Promote works as the owner of the data directory.
func (dataFiles) Promote(dir directory, history map[string]string, allowed func() bool) (touched bool, err error) {
	asOwner(dir, func() { touched, err = promoteIn(dir.path, history, allowed) })
	return touched, err
}

func promoteIn(path string, history map[string]string, allowed func() bool) (touched bool, err error) {
	wal := filepath.Join(path, "pg_wal")
	for name, content := range history {
		if err := placeHistory(wal, name, content); err != nil {
			return false, err
		}
	}
	if len(history) > 0 {
		if err := syncDir(wal); err != nil {
			return false, err
		}
	}
	if !allowed() {
		return false, fmt.Errorf("%w: it passed while files were written", ErrNoDeadline)
	}
	f, err := os.OpenFile(filepath.Join(path, "promote"), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return true, err // whether it exists now is not known
	}
	return true, f.Close()
}

// placeHistory writes one history file, never over another one. Its temporary name
// is one that PostgreSQL removes at its next start.
func placeHistory(wal, name, content string) error {
	if !historyName.MatchString(name) {
		return fmt.Errorf("%w: %q is not the name of a timeline history file", ErrBadRequest, name)
	}
	path := filepath.Join(wal, name)
	switch have, err := os.ReadFile(path); {
	case err == nil && string(have) == content:
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s exists with another content", ErrBadRequest, path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	tmp := filepath.Join(wal, "xlogtemp.pgkeeper."+name)
	if err := writeSynced(tmp, content); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func writeSynced(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(content); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
