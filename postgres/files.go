package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// writeFile replaces path with content so that a crash leaves the old file or
// the new one. It must run inside owner.do when the file is the owner's.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	return writeFileAs(path, content, mode, -1, -1)
}

// writeFileAs is writeFile for a file that is given to another user.
func writeFileAs(path string, content []byte, mode fs.FileMode, uid, gid int) (err error) {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".pgkeeper")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	if err := fill(f, content, uid, gid); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", temp, err), os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

// fill writes, owns, fsyncs and closes f.
func fill(f *os.File, content []byte, uid, gid int) error {
	_, err := f.Write(content)
	if err == nil && uid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// readOptional is os.ReadFile for a file that may be missing. Every look reads some: package
// os would first ask the kernel whether it can wait for each, which it cannot.
func readOptional(path string) (content []byte, found bool, err error) {
	fd, err := openRead(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return nil, false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	content = make([]byte, 0, max(info.Size, 0)+512) // one read for all of it: pg_control is written meanwhile
	for {
		n, err := uninterrupted(func() (int, error) { return unix.Read(fd, content[len(content):cap(content)]) })
		if err != nil {
			return nil, false, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return content, true, nil
		}
		if content = content[:len(content)+n]; len(content) == cap(content) {
			content = slices.Grow(content, 4096)
		}
	}
}

// openRead opens a file or a directory for reading.
func openRead(path string) (fd int, err error) {
	fd, err = uninterrupted(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// uninterrupted repeats a call that a signal broke off.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// exists tells a missing file from one that cannot be looked at.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// removeFile removes a file durably. One that is not there is gone already.
func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeContents empties a directory and keeps it.
func removeContents(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	return syncDir(path)
}
