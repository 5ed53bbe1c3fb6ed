package recorder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// Folder is the folder of recordings in the state directory.
	Folder = "recorder"

	prefix, suffix   = "steps-", ".jsonl"
	defaultFileBytes = 4 << 20
	defaultTotal     = 64 << 20
)

// files are the recordings of one agent: numbered, the newest is written.
type files struct {
	dir         string
	head        Head
	limit, keep int64
	now         *os.File
	size        int64
	writer      *Writer
	// torn: the last write failed, perhaps in the middle of a line.
	torn, failing bool
}

func newFiles(o Options) *files {
	f := &files{dir: o.Dir, head: o.Head, limit: o.FileBytes, keep: o.TotalBytes}
	if f.limit == 0 {
		f.limit = defaultFileBytes
	}
	if f.keep == 0 {
		f.keep = defaultTotal
	}
	return f
}

// write writes one step, in a new file when the last one is full.
func (f *files) write(s *Step, gap int64) error {
	if f.now == nil || f.size >= f.limit {
		if err := f.next(); err != nil {
			return err
		}
	}
	return f.writer.write(s, gap)
}

// Write counts, and begins a new line after a write that failed in one.
func (f *files) Write(p []byte) (int, error) {
	if f.torn {
		p = append([]byte{'\n'}, p...)
	}
	n, err := f.now.Write(p)
	f.size += int64(n)
	f.torn = err != nil
	return n, err
}

// next opens the file that is written from now on: the newest while it has room
// (an agent that restarts often leaves no crowd of files), else a new one; then
// the oldest make room.
func (f *files) next() error {
	f.close()
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	names, err := Files(f.dir)
	if err != nil {
		return err
	}
	name := filepath.Join(f.dir, fmt.Sprintf("%s%08d%s", prefix, 1, suffix))
	if len(names) > 0 {
		name = names[len(names)-1]
		if info, err := os.Stat(name); err != nil || info.Size() >= f.limit {
			name = filepath.Join(f.dir, fmt.Sprintf("%s%08d%s", prefix, number(name)+1, suffix))
		}
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.now, f.size, f.torn = file, info.Size(), info.Size() > 0 // whoever wrote it may have been killed in a line
	f.writer = NewWriter(f, f.head)
	return f.prune()
}

// prune removes the oldest files until the rest, and a full newest one, fit.
func (f *files) prune() error {
	names, err := Files(f.dir)
	if err != nil {
		return err
	}
	total := f.limit
	for i, name := range slices.Backward(names) {
		if i == len(names)-1 {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			total += info.Size()
		}
		if total > f.keep {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *files) close() {
	if f.now != nil {
		_ = f.now.Close() // nothing is promised about the last lines
		f.now = nil
	}
}

// Files lists the recordings of a folder, oldest first.
func Files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if number(e.Name()) > 0 {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
	return names, nil
}

// number is a recording's; 0 for other files.
func number(name string) int {
	middle, ok := strings.CutPrefix(filepath.Base(name), prefix)
	if middle, found := strings.CutSuffix(middle, suffix); ok && found {
		n, _ := strconv.Atoi(middle)
		return n
	}
	return 0
}

// Last reads the last step that a folder has, and since when its reason had stood
// as far as its newest recordings reach. It wraps ErrUnreadable, or says that
// there is no recording (fs.ErrNotExist).
func Last(dir string) (last Recorded, since Recorded, err error) {
	names, err := Files(dir)
	if err != nil {
		return last, since, err
	}
	for _, name := range names[max(0, len(names)-2):] {
		if e := each(name, func(step Recorded) {
			if step.Reason() != last.Reason() {
				since = step
			}
			last = step
		}); e != nil {
			err = e
		}
	}
	switch {
	case last.Line > 0:
		return last, since, nil
	case err == nil:
		err = fmt.Errorf("%s holds no recording: %w", dir, os.ErrNotExist)
	}
	return last, since, err
}

// each reads a file through.
func each(name string, do func(Recorded)) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	for step, err := range Read(io.Reader(file)) {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		do(step)
	}
	return nil
}
