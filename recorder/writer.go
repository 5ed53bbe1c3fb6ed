package recorder

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/pgkeeper/pgkeeper/election"
)

// Step is what one step of the loop rested on and decided.
type Step struct {
	// Wall is the time of day, for people; the zero time when there is none.
	Wall        time.Time
	Observation election.Observation
	Decision    election.Decision
}

// Head is what a whole step is recorded with.
type Head struct {
	// Format is the file format's version.
	Format int `json:"format"`
	// Version is the recording pgkeeper's, Scope and Member are whose steps these
	// are.
	Version string `json:"version"`
	Scope   string `json:"scope"`
	Member  string `json:"member"`
	// Wall is the time of day of this step; CLOCK_BOOTTIME tells the others'.
	Wall time.Time `json:"wall,omitzero"`
}

// format is the version of the lines: 1.
const format = 1

// line is one line of a file. Full is set when the step is whole; else O and D
// are laid over the step before. Gap counts steps lost just before this one.
type line struct {
	Full *Head `json:"full,omitempty"`
	Gap  int64 `json:"gap,omitempty"`
	O    any   `json:"o,omitempty"`
	D    any   `json:"d,omitempty"`
}

// wholeEvery bounds how much a damaged line costs, in lines.
const wholeEvery = 1000

// Writer writes steps as lines, each in one Write. It is used by one goroutine.
type Writer struct {
	w       io.Writer
	head    Head
	o, d    any
	written int
	// observations and decisions make the trees of the one kind and the other.
	observations, decisions encoder
}

// NewWriter makes a writer of the steps of one agent; head's Format and Wall are
// filled in.
func NewWriter(w io.Writer, head Head) *Writer {
	head.Format = format
	return &Writer{w: w, head: head}
}

// Write records one step; nothing that it refers to may be changed later. After an error the next step is written whole, on a
// line of its own.
func (w *Writer) Write(s Step) error { return w.write(&s, 0) }

func (w *Writer) write(s *Step, gap int64) error {
	l := line{Gap: gap}
	o, d := w.observations.treeOf(&s.Observation), w.decisions.treeOf(&s.Decision)
	if w.o == nil || w.written%wholeEvery == 0 {
		head := w.head
		head.Wall = s.Wall
		l.Full, l.O, l.D = &head, o, d
	} else {
		l.O, l.D = changed(w.o, o), changed(w.d, d)
	}
	raw, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode a step: %w", err)
	}
	if _, err := w.w.Write(append(raw, '\n')); err != nil {
		w.o = nil
		return err
	}
	w.o, w.d = o, d
	w.written++
	return nil
}

// changed is the patch from old to new; nil when there is none.
func changed(old, new any) any {
	patch, same := diff(old, new)
	if same {
		return nil
	}
	return patch
}
