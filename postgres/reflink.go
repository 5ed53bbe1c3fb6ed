package postgres

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errNoReflink: the file system cannot let two files share their blocks.
var errNoReflink = errors.New("the file system cannot share blocks between files")

// reflink makes to share from's blocks. Either may change afterwards without the
// other, unlike with a hard link.
func reflink(to, from *os.File) error {
	err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.ENOSYS):
		return errNoReflink
	}
	return err
}

// copyFile writes a new file with in's content: shared where that is possible,
// else copied by the kernel.
func copyFile(in *os.File, path string, mode fs.FileMode) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	if err = reflink(out, in); errors.Is(err, errNoReflink) {
		_, err = io.Copy(out, in)
	}
	return errors.Join(err, out.Close())
}

// freeBytes is what the file system of path has left for us; 0 when it cannot say.
func freeBytes(path string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize //nolint:unconvert // of another width elsewhere
}

// shareTree makes a copy of a directory whose files share their blocks with the
// original's; errNoReflink, with nothing left behind, where that is not possible.
// Pipes and sockets are left out: they belong to a running server. Symbolic links
// are copied as they are. It must run with the owner's rights.
func shareTree(from, to string) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(to))
		}
	}()
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return shareEntry(path, filepath.Join(to, rest), entry)
	})
}

func shareEntry(from, to string, entry fs.DirEntry) error {
	switch kind := entry.Type(); {
	case kind.IsDir():
		return os.Mkdir(to, 0o700)
	case kind&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !kind.IsRegular():
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(reflink(out, in), out.Close()); err != nil {
		if errors.Is(err, errNoReflink) {
			return errNoReflink
		}
		return fmt.Errorf("share %s: %w", from, err)
	}
	return nil
}
