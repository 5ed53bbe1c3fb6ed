package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
// Of former moves only what was never complete is removed. An absent or empty
// directory is no error and gives no path.
//
// What cannot be renamed (ErrImmovable: a mount point) stays as it is, all of it,
// unless it never was a copy of anything.
func (s *Server) MoveAside(ctx context.Context) (newPath string, err error) {
	lock, err := s.lockJob()
	if err != nil {
		return "", err
	}
	defer lock.Close()
	room, err := s.moveAside(ctx, 0, nil)
	return room.Aside, err
}

// moveAside is MoveAside under the job's lock. proof is a source that is proved to have a
// newer history, so that what cannot be moved may be removed (S5), and so may all but the
// newest keep of the good former copies, counting this one, and of the damaged; nil without
// one.
func (s *Server) moveAside(ctx context.Context, keep int, proof *Source) (room Room, err error) {
	_, what, err := s.settled()
	if err != nil {
		return room, err
	}
	n, err := s.Disk(ctx)
	if err != nil {
		return room, err
	}
	if n.Data == cluster.DataEmpty {
		if room.Removed, err = s.freeParts(proof != nil); err != nil {
			return room, err
		}
		return room, s.unbury() // over an empty directory it stands for nothing
	}
	if err := s.refuseRunning(); err != nil {
		return room, err
	}
	data, parts := s.stuck()
	ending := asideGood
	switch {
	case what == remainsDisposable && data+parts != "":
		return room, s.cleanUp()
	case data+parts != "" && proof == nil: // guard: immovable_goes_with_proof_alone — S5
		return room, fmt.Errorf("%w: %s: make it a directory below one that the server's user may write, on the same file system, or empty it yourself", ErrImmovable, cmp.Or(data, parts))
	case data != "":
		return Room{Removed: "the old directory, as " + data}, s.removeOld(*proof)
	case what == remainsDisposable:
		ending = asideIncomplete
	case n.Data != cluster.DataValid, parts != "":
		ending = asideDamaged
	}
	err = s.owner.do(func() (err error) {
		room.Aside, err = s.rename(ending)
		return err
	})
	if err == nil {
		room.Removed, err = s.freeParts(proof != nil)
	}
	if err != nil {
		return room, fmt.Errorf("move %s aside: %w", s.o.DataDir, err)
	}
	if err := s.unbury(); err != nil {
		return room, err
	}
	err = s.owner.do(func() error {
		if proof != nil { // guard: former_copies_go_with_proof_alone — S5: the newest may be a cluster that lost its bootstrap
			return s.prune(keep)
		}
		found, _ := s.asides()
		return s.removeAsides(found.incomplete)
	})
	if err != nil {
		return room, fmt.Errorf("remove older copies: %w", err)
	}
	return room, nil
}

// refuseRunning: a directory under a server must not move.
func (s *Server) refuseRunning() error {
	lockfile, err := s.readPidFile()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errPidFile) { // guard: unread_pid_file_proves_nothing — S5
		return nil // no lock file, or none that names a process
	}
	if err != nil {
		return err
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

// rename gives the directory its new name; its parts elsewhere are for freeParts.
func (s *Server) rename(ending string) (string, error) {
	_, next := s.asides()
	name := ".old-" + strconv.Itoa(next)
	if stamp := s.stamp("20060102T150405Z"); stamp != "" {
		name += "-" + stamp
	}
	newPath := s.o.DataDir + name + ending
	if err := os.Rename(s.o.DataDir, newPath); err != nil {
		return "", err
	}
	return newPath, syncDir(filepath.Dir(s.o.DataDir))
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

// all lists them by age alone, newest first.
func (c formerCopies) all() []aside {
	all := slices.Concat(c.good, c.damaged, c.incomplete)
	slices.SortFunc(all, func(a, b aside) int { return cmp.Compare(b.number, a.number) })
	return all
}

// prune removes good copies beyond the newest keep, at least 1, damaged ones likewise,
// and all incomplete ones. Damaged ones are what a rewind left that was interrupted: one
// after the other would fill the disk, and with it strand the node.
func (s *Server) prune(keep int) error {
	found, _ := s.asides()
	remove := found.incomplete
	for _, list := range [][]aside{found.good, found.damaged} {
		remove = append(remove, list[min(max(keep, 1), len(list)):]...)
	}
	return s.removeAsides(remove)
}

func (s *Server) removeAsides(remove []aside) error {
	for _, a := range remove {
		for _, l := range s.linksOf(a) {
			if l.aside() { // never a live one
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
