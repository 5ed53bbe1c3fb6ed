package testbed

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

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
