package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

const (
	nodeDisk = 640 << 20 // two data directories and their WAL
	etcdDisk = 1 << 30
)

// disks are the file systems of one cluster, an ext4 in a file for each node and each
// etcd member: it can be filled at once, and frozen: then every write and fsync waits,
// while memory and network go on.
type disks struct {
	testbed.Volumes

	mu sync.Mutex
	// freezes says how many faults hold a file system frozen.
	freezes map[string]int
}

// mount is testbed's Options.Folder.
func (d *disks) mount(name, dir string) error {
	size, mode := int64(nodeDisk), os.FileMode(0o755)
	if strings.HasPrefix(name, "etcd") {
		size, mode = etcdDisk, 0o700
	}
	return d.Mount(dir, size, mode)
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
		err = lan.Command("fsfreeze", "--freeze", dir)
	case after == 0:
		err = lan.Command("fsfreeze", "--unfreeze", dir)
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
