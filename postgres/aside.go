package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The endings of directories moved aside: a good copy, a damaged one (an
// interrupted rewind: data may be in it, but it is no copy), and one that was
// never complete.
const (
	asideGood       = ""
	asideDamaged    = ".damaged"
	asideIncomplete = ".incomplete"
)

// MoveAside renames the data directory to <data_dir>.old-<number>[-<time>] beside
// it, so that the place is free and the last good copy lives on (S5). A WAL
// directory and tablespaces elsewhere are renamed with it and its links follow.
// Afterwards at most keep good copies of former moves stay, the newest, counting
// this one when it is good, and as many damaged ones; what was never complete is
// removed. keep less than 1 counts as 1. An absent or empty directory is no error
// and gives no path.
func (s *Server) MoveAside(ctx context.Context, keep int) (newPath string, err error) {
	lock, err := s.lockJob()
	if err != nil {
		return "", err
	}
	defer lock.Close()
	grave, err := s.Tombstone()
	if err != nil {
		return "", err
	}
	n, err := s.Disk(ctx)
	if err != nil || n.Data == cluster.DataEmpty {
		return "", errors.Join(err, s.unburyEmpty(err))
	}
	if err := s.refuseRunning(); err != nil {
		return "", err
	}
	ending := asideGood
	switch {
	case grave.disposable():
		ending = asideIncomplete
	case grave != nil, n.Data != cluster.DataValid:
		ending = asideDamaged
	}
	err = s.owner.do(func() (err error) {
		newPath, err = s.rename(ending)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("move %s aside: %w", s.o.DataDir, err)
	}
	if err := s.unbury(); err != nil {
		return newPath, err
	}
	if err := s.owner.do(func() error { return s.prune(max(keep, 1)) }); err != nil {
		return newPath, fmt.Errorf("remove older copies: %w", err)
	}
	return newPath, nil
}

// unburyEmpty: a tombstone over an empty directory stands for nothing.
func (s *Server) unburyEmpty(failed error) error {
	if failed != nil {
		return nil
	}
	return s.unbury()
}

// refuseRunning: a directory under a server must not move.
func (s *Server) refuseRunning() error {
	lockfile, err := s.readPidFile()
	if err != nil {
		return nil //nolint:nilerr // no lock file, or none that names a process
	}
	alive, err := s.isServerProcess(max(lockfile.pid, -lockfile.pid))
	if err != nil {
		return err
	}
	if alive {
		return fmt.Errorf("%w: process %d works in %s: stop it first", ErrRunning, lockfile.pid, s.o.DataDir)
	}
	return nil
}

// rename gives directory and linked parts their new names.
func (s *Server) rename(ending string) (string, error) {
	_, next := s.asides()
	name := ".old-" + strconv.Itoa(next)
	if stamp := s.stamp("20060102T150405Z"); stamp != "" {
		name += "-" + stamp
	}
	name += ending
	links := s.links()
	newPath := s.o.DataDir + name
	if err := os.Rename(s.o.DataDir, newPath); err != nil {
		if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) {
			return "", fmt.Errorf("%w: make data_dir a directory below %s: %w", ErrMountPoint, s.o.DataDir, err)
		}
		return "", err
	}
	var failed error
	for _, l := range links {
		failed = errors.Join(failed, moveLink(l, newPath+strings.TrimPrefix(l.path, s.o.DataDir), name))
	}
	return newPath, errors.Join(failed, syncDir(filepath.Dir(s.o.DataDir)))
}

// moveLink renames a linked directory and turns the link, which has moved along,
// to the new name. The directory that others may expect is made again, empty.
func moveLink(l link, path, suffix string) error {
	if err := os.Rename(l.target, l.target+suffix); err != nil {
		return err
	}
	if err := os.Mkdir(l.target, 0o700); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(l.target+suffix, path)
}

// aside is one directory moved aside.
type aside struct {
	path   string
	number int
}

// formerCopies are directories moved aside, by what they are worth, newest first.
type formerCopies struct{ good, damaged, incomplete []aside }

// asides lists former copies and the next number.
func (s *Server) asides() (found formerCopies, next int) {
	paths, _ := filepath.Glob(s.o.DataDir + ".old-*") // the pattern is well formed
	for _, path := range paths {
		rest := strings.TrimPrefix(path, s.o.DataDir+".old-")
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		number, err := strconv.Atoi(digits)
		if err != nil {
			continue
		}
		next = max(next, number)
		switch filepath.Ext(path) {
		case asideIncomplete:
			found.incomplete = append(found.incomplete, aside{path, number})
		case asideDamaged:
			found.damaged = append(found.damaged, aside{path, number})
		default:
			found.good = append(found.good, aside{path, number})
		}
	}
	newest := func(a, b aside) int { return cmp.Compare(b.number, a.number) }
	slices.SortFunc(found.good, newest)
	slices.SortFunc(found.damaged, newest)
	return found, next + 1
}

// prune removes good copies beyond the newest keep, damaged ones likewise, and all
// incomplete ones. Damaged ones are what a rewind left that was interrupted: one
// after the other would fill the disk, and with it strand the node.
func (s *Server) prune(keep int) error {
	found, _ := s.asides()
	remove := found.incomplete
	for _, list := range [][]aside{found.good, found.damaged} {
		remove = append(remove, list[min(keep, len(list)):]...)
	}
	return s.removeAsides(remove)
}

func (s *Server) removeAsides(remove []aside) error {
	for _, a := range remove {
		old := &Server{o: Options{DataDir: a.path}, version: s.version}
		for _, l := range old.links() {
			if strings.Contains(filepath.Base(l.target), ".old-") { // never a live one
				if err := os.RemoveAll(l.target); err != nil {
					return err
				}
			}
		}
		if err := os.RemoveAll(a.path); err != nil {
			return err
		}
	}
	return nil
}
