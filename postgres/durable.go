package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileSystems makes what work has written durable with one call for each file system, in
// place of one fsync for each file, which costs initdb a third of its time. Since Linux
// 5.8 that call tells of writes that failed, but only those that no other descriptor of
// the file system was told of before this one was opened. So these, one directory of each
// by its device, are opened before the work.
type fileSystems map[uint64]*os.File

// openFileSystems opens those of paths, or of the nearest directories there are. What
// cannot be opened yet is left to sync. It must run with the owner's rights.
func openFileSystems(paths ...string) fileSystems {
	f := fileSystems{}
	for _, path := range paths {
		_ = f.add(standing(path))
	}
	return f
}

// add opens path, unless its file system is there already.
func (f fileSystems) add(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil || f[st.Dev] != nil {
		_ = dir.Close()
		return err
	}
	f[st.Dev] = dir
	return nil
}

// sync makes everything on them durable, and on those of paths that nobody knew of before
// the work.
func (f fileSystems) sync(paths ...string) error {
	for _, path := range paths {
		if err := f.add(path); err != nil {
			return err
		}
	}
	for _, dir := range f {
		if err := unix.Syncfs(int(dir.Fd())); err != nil {
			return fmt.Errorf("sync the file system of %s: %w", dir.Name(), err)
		}
	}
	return nil
}

func (f fileSystems) close() {
	for _, dir := range f {
		_ = dir.Close()
	}
}

// watched opens the file systems of the data directory, of what belongs to it elsewhere,
// and of places where more of it will be.
func (s *Server) watched(places ...string) (f fileSystems) {
	_ = s.owner.do(func() error {
		places = append([]string{s.o.DataDir}, places...)
		for _, link := range s.links() {
			places = append(places, link.target)
		}
		f = openFileSystems(places...)
		return nil
	})
	return f
}

// syncAll makes the data directory durable with all that belongs to it.
func (s *Server) syncAll(f fileSystems) error {
	return s.owner.do(func() error {
		paths := []string{s.o.DataDir}
		for _, link := range s.links() {
			paths = append(paths, link.target)
		}
		if err := f.sync(paths...); err != nil {
			return err
		}
		return syncDir(filepath.Dir(s.o.DataDir))
	})
}

// clonePlaces is where a clone of source will write outside of the data directory. A
// source that does not say is one whose tablespaces are found after the copy.
func (s *Server) clonePlaces(ctx context.Context, source Source) (places []string) {
	ctx, cancel := context.WithTimeout(ctx, namesLimit)
	defer cancel()
	var locations []string
	row, err := s.askSource(ctx, source, "postgres", tablespacesSQL)
	if err == nil {
		err = json.Unmarshal(row[0], &locations)
	}
	if err != nil {
		s.o.Log.Debug("tablespaces of the source not known", "error", err)
	}
	_ = s.owner.do(func() error {
		places = []string{walPlace(s.o.BasebackupArgs, s.o.DataDir)}
		for _, location := range locations {
			places = append(places, s.placeOf(location))
		}
		return nil
	})
	return places
}
