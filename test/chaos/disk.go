package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

const (
	nodeDisk = 640 << 20 // two data directories and their WAL
	etcdDisk = 1 << 30
)

// disks are the file systems of one cluster, an ext4 in a file for each node and each
// etcd member: it can be filled at once, and frozen: then every write and fsync waits,
// while memory and network go on.
type disks struct {
	mu  sync.Mutex
	all []string
	// freezes says how many faults hold a file system frozen.
	freezes map[string]int
}

// mount is testbed's Options.Folder.
func (d *disks) mount(name, dir string) error {
	size, mode := int64(nodeDisk), os.FileMode(0o755)
	if strings.HasPrefix(name, "etcd") {
		size, mode = etcdDisk, 0o700
	}
	if err := mountImage(dir, size, mode); err != nil {
		return fmt.Errorf("mount a file system on %s: %w", dir, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, dir)
	return nil
}

func mountImage(dir string, size int64, mode os.FileMode) error {
	image := dir + ".img"
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	if err := command("mkfs.ext4", "-q", "-F", "-m", "0", image); err != nil {
		return err
	}
	return errors.Join(command("mount", "-o", "loop", image, dir), os.Remove(image), os.Chmod(dir, mode))
}

// freeze lets no write to a file system through. One that is frozen already, by
// such a fault that it meets, stays so until both are mended.
func (d *disks) freeze(dir string) (heal func() error, err error) {
	if err := d.frozen(dir, 1); err != nil {
		return nil, err
	}
	return func() error { return d.frozen(dir, -1) }, nil
}

// frozen counts who wants a file system frozen, and acts on the first and the last.
func (d *disks) frozen(dir string, change int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.freezes == nil {
		d.freezes = map[string]int{}
	}
	before, after := d.freezes[dir], d.freezes[dir]+change
	var err error
	switch {
	case before == 0:
		err = command("fsfreeze", "--freeze", dir)
	case after == 0:
		err = command("fsfreeze", "--unfreeze", dir)
	}
	if err == nil {
		d.freezes[dir] = after
	}
	return err
}

// fillDisk leaves no byte of a file system.
func fillDisk(dir string) (heal func() error, err error) {
	path := filepath.Join(dir, "filler")
	if err := testbed.FillDisk(path, nodeDisk); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) { // two such faults may meet
			return err
		}
		return nil
	}, nil
}

// unmount ends all file systems; what was on them is gone.
func (d *disks) unmount() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all error
	for _, dir := range d.all {
		if err := unix.Unmount(dir, 0); err != nil {
			all = errors.Join(all, fmt.Errorf("unmount %s: %w", dir, err))
		}
	}
	d.all = nil
	return all
}
