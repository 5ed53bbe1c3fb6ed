package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// place is the folder of one cluster.
type place struct {
	dir string
	// uid and gid own the nodes' folders: those of the server's user when root
	// runs the test, -1 when nothing is to be changed.
	uid, gid int
}

// newPlace makes a folder that the server's user can pass through, with a short
// path: sockets live below it.
func newPlace() (place, error) {
	p := place{uid: -1, gid: -1}
	if os.Geteuid() == 0 {
		server, err := user.Lookup("postgres")
		if err != nil {
			return p, errors.New("run as root, servers need the OS user postgres, and there is none: script/install-deps test")
		}
		if p.uid, err = strconv.Atoi(server.Uid); err != nil {
			return p, fmt.Errorf("user postgres: %w", err)
		}
		if p.gid, err = strconv.Atoi(server.Gid); err != nil {
			return p, fmt.Errorf("user postgres: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "pgk-")
	if err != nil {
		return p, fmt.Errorf("make the cluster's folder: %w", err)
	}
	p.dir = dir
	return p, os.Chmod(dir, 0o755)
}

// folder makes a folder below that the servers' user owns.
func (p place) folder(name string) (string, error) {
	dir := filepath.Join(p.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	if p.uid >= 0 {
		if err := os.Chown(dir, p.uid, p.gid); err != nil {
			return "", fmt.Errorf("give a folder to the servers' user: %w", err)
		}
	}
	return dir, nil
}
