package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The forms of the server's log, in the names of log_destination.
const (
	logStderr = "stderr"
	logCSV    = "csvlog"
	logJSON   = "jsonlog"
)

// foundLog is where the server's log can be read: a folder of the logging collector, or
// one file that is the server's standard error.
type foundLog struct {
	format string
	folder string
	file   string
	// as runs what reads it.
	as func(func() error) error
}

// errLogUnreadable: what the server writes goes where only its reader sees it.
var errLogUnreadable = errors.New("the server's log goes to the agent's standard error, and that to a pipe or the journal, which cannot be read back: set logging_collector to on (needs a restart), or let the service write its standard error to a file")

// findLog finds the log of the running server. The collector says in current_logfiles
// where it writes; without it there is only the server's standard error.
func (s *Server) findLog(pid int) (foundLog, error) {
	var text []byte
	err := s.owner.do(func() (err error) {
		text, err = os.ReadFile(s.data("current_logfiles"))
		return err
	})
	switch {
	case err == nil:
		return s.collected(string(text))
	case !errors.Is(err, fs.ErrNotExist):
		return foundLog{}, fmt.Errorf("read where the server logs: %w", err)
	case pid <= 0:
		return foundLog{}, errors.New("the postmaster is not known")
	}
	file := fmt.Sprintf("/proc/%d/fd/2", pid)
	info, err := os.Stat(file)
	if err != nil {
		return foundLog{}, fmt.Errorf("look where the server's standard error goes: %w", err)
	}
	if !info.Mode().IsRegular() {
		return foundLog{}, errLogUnreadable
	}
	return foundLog{format: logStderr, file: file, as: func(f func() error) error { return f() }}, nil
}

// collected chooses among the collector's files: each message is in all of them. The
// structured ones cannot be misread.
func (s *Server) collected(text string) (foundLog, error) {
	files := map[string]string{}
	for line := range strings.Lines(text) {
		format, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[format] = path
	}
	for _, format := range []string{logJSON, logCSV, logStderr} {
		if path := files[format]; path != "" {
			if !filepath.IsAbs(path) {
				path = s.data(path)
			}
			return foundLog{format: format, folder: filepath.Dir(path), as: s.owner.do}, nil
		}
	}
	return foundLog{}, errors.New("the logging collector names no file in current_logfiles")
}

// tailMost bounds what one reading takes; the rest waits for the next. longestLine is
// more than what a message can be: a longer line is passed over.
const (
	tailMost    = 16 << 20
	longestLine = 1 << 20
)

// logTail counts cancelled waits in what is added to a log. It knows how far each file
// was read by the file's number, whatever its name: rotation, several of them between
// two readings, files that are renamed, truncated and used again lose and double nothing.
type logTail struct {
	at      string // format and folder
	offsets map[uint64]int64
}

// lose forgets how far it was: what is written until the next reading is not counted.
func (t *logTail) lose() { *t = logTail{} }

// read counts what is new. The first reading of a log counts nothing: what is in it may
// be years old.
func (t *logTail) read(log foundLog) (cancelled int64, err error) {
	err = log.as(func() error {
		files, err := log.list()
		if err != nil {
			return fmt.Errorf("look for the server's log: %w", err)
		}
		first := t.at != log.format+" "+log.folder
		if first {
			*t = logTail{at: log.format + " " + log.folder, offsets: map[uint64]int64{}}
		}
		offsets := map[uint64]int64{}
		defer func() { t.offsets = offsets }()
		budget := int64(tailMost)
		for _, f := range files {
			from, known := t.offsets[f.inode]
			switch {
			case first, !known && log.folder == "": // another file for standard error may be an old one
				offsets[f.inode] = f.size
				continue
			case from > f.size: // begun anew
				from = 0
			}
			n, to, err := countFile(f.path, log.format, from, min(f.size, from+budget))
			if err != nil {
				offsets[f.inode] = from
				return fmt.Errorf("read the server's log: %w", err)
			}
			budget -= to - from
			cancelled, offsets[f.inode] = cancelled+n, to
		}
		return nil
	})
	return cancelled, err
}

// logFile is one file of a log.
type logFile struct {
	path  string
	inode uint64
	size  int64
}

// list is the log's files.
func (l foundLog) list() (files []logFile, err error) {
	if l.folder == "" {
		f, ok, err := statLog(l.file, os.Stat)
		if err == nil && !ok {
			err = errLogUnreadable
		}
		return []logFile{f}, err
	}
	entries, err := os.ReadDir(l.folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if formatOf(entry.Name()) != l.format {
			continue
		}
		f, ok, err := statLog(filepath.Join(l.folder, entry.Name()), os.Lstat)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if ok {
			files = append(files, f)
		}
	}
	return files, nil
}

func statLog(path string, stat func(string) (fs.FileInfo, error)) (f logFile, regular bool, err error) {
	info, err := stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return f, false, err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return f, false, nil
	}
	return logFile{path: path, inode: sys.Ino, size: info.Size()}, true, nil
}

// formatOf is the form of a file in the collector's folder, also of one that was renamed
// to name.csv.1.
func formatOf(name string) string {
	switch {
	case strings.Contains(name, ".csv"):
		return logCSV
	case strings.Contains(name, ".json"):
		return logJSON
	}
	return logStderr
}

// countFile counts in the whole lines between two places, and says how far it came.
func countFile(path, format string, from, to int64) (cancelled, end int64, err error) {
	if to <= from {
		return 0, from, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, from, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, from, to-from))
	if err != nil {
		return 0, from, err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	if whole == 0 && len(text) >= longestLine {
		return 0, from + int64(len(text)), nil
	}
	for line := range bytes.Lines(text[:whole]) {
		if isCancelled(format, string(bytes.TrimRight(line, "\r\n"))) {
			cancelled++
		}
	}
	return cancelled, from + int64(whole), nil
}
