package recorder

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// ErrUnreadable: this is no recording, or one this version cannot read.
var ErrUnreadable = errors.New("unreadable recording")

// Recorded is one step as it was read. The decision stays a tree: it is compared
// and shown, never carried out.
type Recorded struct {
	// Line is its line in the file, from 1.
	Line int
	Head Head
	// Wall is the time of day; zero when the recording has none.
	Wall        time.Time
	Observation election.Observation
	// Gap counts the steps that were lost just before this one.
	Gap int64
	// Unknown are recorded fields that this version has no place for.
	Unknown  []string
	decision any
}

// longestLine bounds one line, in bytes.
const longestLine = 64 << 20

// Read gives the steps of one recording, in order. A line that cannot be read
// (a crash in its middle) ends nothing: the next whole step goes on, with a gap
// of one before it. The error, given last, is ErrUnreadable or the reader's own.
func Read(r io.Reader) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		state := reading{}
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 64<<10), longestLine)
		for lines.Scan() {
			state.at++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			step, ok, err := state.next(lines.Bytes())
			if (err != nil || ok) && !yield(step, err) || err != nil {
				return
			}
		}
		switch {
		case lines.Err() != nil:
			yield(Recorded{}, fmt.Errorf("%w: after line %d: %w", ErrUnreadable, state.at, lines.Err()))
		case state.at > 0 && !state.any:
			yield(Recorded{}, fmt.Errorf("%w: none of its %d lines is a recorded step", ErrUnreadable, state.at))
		}
	}
}

// reading is what lines are laid over.
type reading struct {
	at   int
	any  bool
	head Head
	boot cluster.Instant
	o, d any
	lost int64
}

// next reads one line; ok is false when it tells nothing by itself.
func (r *reading) next(raw []byte) (step Recorded, ok bool, err error) {
	var l line
	lines := json.NewDecoder(bytes.NewReader(raw))
	lines.UseNumber() // positions and revisions are exact
	if lines.Decode(&l) != nil {
		r.o, r.lost = nil, 1
		return step, false, nil
	}
	switch {
	case l.Full != nil && l.Full.Format != format:
		return step, false, fmt.Errorf("%w: line %d: format %d, written by pgkeeper %s; this one reads format %d", ErrUnreadable, r.at, l.Full.Format, l.Full.Version, format)
	case l.Full != nil:
		r.head, r.o, r.d = *l.Full, l.O, l.D
	case r.o == nil: // what it is laid over was not readable
		return step, false, nil
	default:
		if l.O != nil {
			r.o = apply(r.o, l.O)
		}
		if l.D != nil {
			r.d = apply(r.d, l.D)
		}
	}
	step = Recorded{Line: r.at, Head: r.head, Gap: l.Gap + r.lost, decision: r.d}
	d := &decoder{}
	if err := d.into(reflect.ValueOf(&step.Observation).Elem(), r.o, "observation"); err != nil {
		return step, false, fmt.Errorf("%w: line %d: %w", ErrUnreadable, r.at, err)
	}
	if l.Full != nil {
		r.boot = step.Observation.Now
	}
	if !r.head.Wall.IsZero() {
		step.Wall = r.head.Wall.Add(step.Observation.Now.Sub(r.boot))
	}
	step.Unknown = d.unknown
	r.any, r.lost = true, 0
	return step, true, nil
}

// Reason is what was decided.
func (r Recorded) Reason() cluster.Reason { return cluster.Reason(r.text("Reason")) }

// Detail is the reason in words with figures.
func (r Recorded) Detail() string { return r.text("Detail") }

// Actions names what was decided to do, in order.
func (r Recorded) Actions() []string {
	object, _ := r.decision.(map[string]any)
	list, _ := object["Actions"].([]any)
	var names []string
	for _, a := range list {
		one, _ := a.(map[string]any)
		for name, fields := range one {
			names = append(names, name+shortly(fields))
		}
	}
	return names
}

func (r Recorded) text(field string) string {
	object, _ := r.decision.(map[string]any)
	text, _ := object[field].(string)
	return decodeText(text)
}

// Difference is a step that Decide decides otherwise than it was recorded.
type Difference struct {
	Step Recorded
	// Now is what Decide says.
	Now election.Decision
	// Where lists what differs, one path of the decision each.
	Where []string
}

// String says it in a few lines.
func (d *Difference) String() string {
	when := ""
	if !d.Step.Wall.IsZero() {
		when = " at " + d.Step.Wall.Format(timeOfStory)
	}
	head := fmt.Sprintf("line %d%s, member %s: recorded %s, decided now %s", d.Step.Line, when, d.Step.Head.Member, d.Step.Reason(), d.Now.Reason)
	return head + "\n  " + strings.Join(d.Where, "\n  ")
}

// Check runs Decide on a recorded observation; nil when it decides the same.
func (r Recorded) Check() *Difference {
	now := election.Decide(&r.Observation)
	if where := differences("decision", r.decision, treeOf(now)); len(where) > 0 {
		return &Difference{Step: r, Now: now, Where: where}
	}
	return nil
}

// Replay runs Decide on every recorded observation. It stops at the first one
// that is decided otherwise; checked counts those that are decided the same. The
// error is ErrUnreadable, or the reader's own.
func Replay(r io.Reader) (checked int, first *Difference, err error) {
	for step, err := range Read(r) {
		switch {
		case err != nil:
			return checked, nil, err
		case len(step.Unknown) > 0:
			return checked, nil, fmt.Errorf("%w: line %d: written by pgkeeper %s, which observes what this version does not know: %s",
				ErrUnreadable, step.Line, step.Head.Version, strings.Join(step.Unknown, ", "))
		}
		if first = step.Check(); first != nil {
			return checked, first, nil
		}
		checked++
	}
	return checked, nil, nil
}
