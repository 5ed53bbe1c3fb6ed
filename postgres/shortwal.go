package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A standby that goes over to a new timeline streams the file in which that begins
// from the file's beginning: first once more what it has of the old timeline. When it
// is stopped before the stream has come to the switch, the short file stays, recovery
// prefers it, since its timeline is the newest, and every start ends with "according
// to history file, WAL location ... belongs to timeline 2, but previous recovered WAL
// file came from timeline 3". PostgreSQL has no way out of that by itself.

// shortLimit bounds the reading of one WAL file.
const shortLimit = 30 * time.Second

// dropShortWAL removes the first file of each newer timeline that does not reach the
// beginning of that timeline, or ends there: it holds nothing that the older timeline's file
// has not. The second is what a promotion leaves that died before its end-of-recovery record:
// with it, and the history file beside it, this server would take that timeline for its goal
// for ever, and follow no other. The server is stopped.
func (s *Server) dropShortWAL() error {
	var first []walFile
	err := s.owner.do(func() (err error) { first, err = s.firstWALs(); return err })
	if err != nil {
		return err
	}
	for _, file := range first {
		if !s.isShort(file) && !s.isBarren(file) {
			continue
		}
		path := s.data("pg_wal", file.name)
		s.o.Log.Info("WAL file has nothing of its timeline, removed", "path", path)
		if err := s.owner.do(func() error { return errors.Join(os.Remove(path), syncDir(s.data("pg_wal"))) }); err != nil {
			return err
		}
	}
	return nil
}

// walFile is the file in which a timeline begins: from its begin up to the switch it
// repeats the timeline before.
type walFile struct {
	name       string
	timeline   cluster.Timeline
	begin, end cluster.LSN // of what it repeats
}

// firstWALs are those of all newer timelines. It must run with the owner's rights.
func (s *Server) firstWALs() ([]walFile, error) {
	c, err := s.readControl()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(s.data("pg_wal", "*.history"))
	if err != nil {
		return nil, err
	}
	var all []walFile
	for _, name := range names {
		f, err := s.firstWAL(strings.TrimSuffix(filepath.Base(name), ".history"), c)
		if err != nil {
			return nil, err
		}
		if f.name != "" {
			all = append(all, f)
		}
	}
	return all, nil
}

// firstWAL is the first file of a timeline that this server has not been on, if it is
// there; name is empty otherwise. It must run with the owner's rights.
func (s *Server) firstWAL(number string, c Control) (walFile, error) {
	n, err := strconv.ParseUint(number, 16, 32)
	tl := cluster.Timeline(n)
	if err != nil || tl <= max(c.Timeline, c.MinRecoveryTLI) {
		return walFile{}, nil //nolint:nilerr // no file of PostgreSQL's
	}
	history, err := s.timelineHistory(tl)
	if err != nil || len(history) == 0 {
		return walFile{}, err
	}
	size := cluster.LSN(c.SegmentSize)
	at := history[len(history)-1].Switch
	f := walFile{name: segmentName(tl, at, uint64(size)), timeline: tl, begin: at / size * size, end: at}
	if there, err := exists(s.data("pg_wal", f.name)); err != nil || !there {
		return walFile{}, err
	}
	return f, nil
}

// isShort reads the file's records up to where it must have them; anything but a
// record that is not there counts as enough.
func (s *Server) isShort(f walFile) bool {
	if f.begin == f.end {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), shortLimit)
	defer cancel()
	_, err := s.run(ctx, job{program: "pg_waldump", args: []string{
		"--path=" + s.data("pg_wal"), "--timeline=" + strconv.FormatUint(uint64(f.timeline), 10),
		"--start=" + f.begin.String(), "--end=" + f.end.String(), "--stats",
	}})
	var ended *failure
	if err != nil {
		s.o.Log.Debug("read a WAL file", "file", f.name, "error", err)
	}
	return errors.As(err, &ended) && (strings.Contains(ended.said, "error in WAL record") || strings.Contains(ended.said, "could not find a valid record"))
}

// isBarren tells whether there is no record after the beginning of the file's timeline, nor
// another file of it; anything but that counts as one.
func (s *Server) isBarren(f walFile) bool {
	var all []string
	blank := false
	err := s.owner.do(func() (err error) {
		all, err = filepath.Glob(s.data("pg_wal", fmt.Sprintf("%08X????????????????", uint32(f.timeline))))
		if err == nil {
			blank, err = unwritten(s.data("pg_wal", f.name))
		}
		return err
	})
	if err != nil || len(all) != 1 || blank { // pg_waldump makes nothing of a file without a page
		return err == nil && len(all) == 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), shortLimit)
	defer cancel()
	_, err = s.run(ctx, job{program: "pg_waldump", args: []string{
		"--path=" + s.data("pg_wal"), "--timeline=" + strconv.FormatUint(uint64(f.timeline), 10), "--start=" + f.end.String(), "--limit=1",
	}})
	var ended *failure
	return errors.As(err, &ended) && strings.Contains(ended.said, "could not find a valid record")
}

// unwritten tells whether not even the first page of a WAL file was written: it would begin
// with a number that is not 0.
func unwritten(path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	magic := make([]byte, 2)
	_, err = io.ReadFull(file, magic)
	return magic[0] == 0 && magic[1] == 0, err
}
