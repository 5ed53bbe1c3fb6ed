package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Volumes are the file systems of one cluster, an ext4 in a file for each folder, which
// can be filled or frozen without any other. Only root can mount them.
type Volumes struct {
	mu   sync.Mutex
	dirs []string
}

// Mount makes a file system of so many bytes on a folder that is there, which keeps mode.
func (v *Volumes) Mount(dir string, size int64, mode os.FileMode) error {
	image := dir + ".img"
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil { //nolint:noctx // ends by itself
			return fmt.Errorf("mount a file system on %s: %s: %w: %s", dir, argv[0], err, out)
		}
	}
	v.mu.Lock()
	v.dirs = append(v.dirs, dir)
	v.mu.Unlock()
	return errors.Join(os.Remove(image), os.Chmod(dir, mode))
}

// unmountLimit bounds one unmount.
const unmountLimit = 30 * time.Second

// Unmount ends all of them, when nobody uses them any more; what was on them is gone. The
// kernel closes the files of a process that has ended after it has forgotten the folder
// by which the process was known.
func (v *Volumes) Unmount() (all error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, dir := range v.dirs {
		all = errors.Join(all, Wait(context.Background(), unmountLimit, "the file system on "+dir+" to be unmounted", func(context.Context) string {
			if err := unix.Unmount(dir, 0); err != nil {
				return err.Error()
			}
			return ""
		}))
	}
	v.dirs = nil
	return all
}

// FillDisk makes a file that leaves no byte of its file system, which is most bytes
// large. It is taken without writing it, in smaller and smaller pieces, until nothing is
// left.
func FillDisk(path string, most int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var taken int64
	for piece := most; piece >= 4096; {
		switch err := unix.Fallocate(int(f.Fd()), 0, taken, piece); {
		case err == nil:
			taken += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return errors.Join(err, os.Remove(path))
		}
	}
	return nil
}
