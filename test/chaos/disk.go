package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	nodeDisk = "640m" // a node's tmpfs: two data directories and their WAL
	etcdDisk = 1 << 30
)

// disks are the file systems of one cluster: a tmpfs for a node, since it can be
// filled at once, and an ext4 in a file for an etcd member, since it can be frozen:
// then every write and fsync waits, while memory and network go on.
type disks struct {
	mu  sync.Mutex
	all []string
}

// mount is testbed's Options.Folder.
func (d *disks) mount(name, dir string) error {
	var err error
	if strings.HasPrefix(name, "etcd") {
		err = mountImage(dir)
	} else {
		err = unix.Mount("chaos", dir, "tmpfs", 0, "mode=0755,size="+nodeDisk)
	}
	if err != nil {
		return fmt.Errorf("mount a file system on %s: %w", dir, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, dir)
	return nil
}

func mountImage(dir string) error {
	image := dir + ".img"
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(etcdDisk), f.Close()); err != nil {
		return err
	}
	if err := command("mkfs.ext4", "-q", "-F", image); err != nil {
		return err
	}
	return errors.Join(command("mount", "-o", "loop", image, dir), os.Remove(image), os.Chmod(dir, 0o700))
}

// freezeDisk lets no write to a file system through.
func freezeDisk(dir string) (heal func() error, err error) {
	if err := command("fsfreeze", "--freeze", dir); err != nil {
		return nil, err
	}
	return func() error { return command("fsfreeze", "--unfreeze", dir) }, nil
}

// fillDisk leaves no byte of a file system.
func fillDisk(dir string) (heal func() error, err error) {
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return nil, errors.Join(err, os.Remove(path))
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
