package demo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// place is the folder of a demo.
type place struct {
	dir string
	// made tells that the folder itself is ours to remove.
	made bool
	// uid and gid own the nodes' folders: the server's user when root runs the
	// demo, since PostgreSQL refuses root; -1 leaves them alone.
	uid, gid int
}

// longestDir leaves room for the sockets below: the kernel takes 108 bytes for
// the path of one.
const longestDir = 70

// newPlace makes the folder: the given one, which must be empty, or a new one.
func newPlace(dir string) (*place, error) {
	p := &place{dir: dir, uid: -1, gid: -1}
	if err := p.owner(); err != nil {
		return nil, err
	}
	if err := p.make(); err != nil {
		return nil, err
	}
	if len(p.dir) > longestDir {
		_ = p.remove()
		return nil, fmt.Errorf("the folder %s has a path of %d bytes, and the sockets below leave room for %d: choose a shorter one with --dir", p.dir, len(p.dir), longestDir)
	}
	return p, nil
}

func (p *place) owner() error {
	if os.Geteuid() != 0 {
		return nil
	}
	server, err := user.Lookup("postgres")
	if err != nil {
		return errors.New("started by root, the demo runs its servers as user postgres, and there is none: install PostgreSQL from your distribution, or run the demo as a plain user")
	}
	p.uid, err = strconv.Atoi(server.Uid)
	if err != nil {
		return fmt.Errorf("user postgres: %w", err)
	}
	p.gid, err = strconv.Atoi(server.Gid)
	return err
}

func (p *place) make() (err error) {
	switch p.dir {
	case "":
		p.made = true
		if p.dir, err = os.MkdirTemp("", "pgkeeper-demo-"); err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
	default:
		if p.dir, err = filepath.Abs(p.dir); err != nil {
			return fmt.Errorf("find the folder: %w", err)
		}
		entries, err := os.ReadDir(p.dir)
		if err == nil && len(entries) > 0 {
			return fmt.Errorf("the folder %s is not empty: choose another one with --dir", p.dir)
		}
		p.made = errors.Is(err, fs.ErrNotExist)
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			return fmt.Errorf("make the folder of the demo: %w", err)
		}
	}
	if p.uid >= 0 { // the server's user must be able to pass through
		return os.Chmod(p.dir, 0o755)
	}
	return nil
}

// folder makes a folder that belongs to the servers' user.
func (p *place) folder(name string) (string, error) {
	dir := filepath.Join(p.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", name, err)
	}
	if p.uid >= 0 {
		if err := os.Chown(dir, p.uid, p.gid); err != nil {
			return "", fmt.Errorf("give the folder of %s to the servers' user: %w", name, err)
		}
	}
	return dir, nil
}

// remove deletes what the demo made, and the folder itself if it was made too.
func (p *place) remove() error {
	if p.made {
		return os.RemoveAll(p.dir)
	}
	entries, err := os.ReadDir(p.dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(p.dir, entry.Name())))
	}
	return err
}

// newPassword is one for the roles of one demo: loopback has other users too.
func newPassword() string { return rand.Text()[:16] }
