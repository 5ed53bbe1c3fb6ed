package recorder

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// timeOfStory is how a story writes times.
const timeOfStory = "2006-01-02 15:04:05.000"

// Story writes a recording as people read it: one line each time something else
// was decided or done, and how often it was decided again in between.
func Story(w io.Writer, steps iter.Seq2[Recorded, error]) error {
	var last string
	var again int
	var began cluster.Instant
	for step, err := range steps {
		if err != nil {
			return err
		}
		text := step.line()
		if text == last && step.Gap == 0 {
			again++
			continue
		}
		if err := repeated(w, again, step.Observation.Now.Sub(began)); err != nil {
			return err
		}
		if step.Gap > 0 {
			text = fmt.Sprintf("(%d steps were not recorded) %s", step.Gap, text)
		}
		if _, err := fmt.Fprintf(w, "%s  %s\n", step.when(), text); err != nil {
			return err
		}
		last, again, began = step.line(), 0, step.Observation.Now
	}
	return repeated(w, again, 0)
}

func repeated(w io.Writer, again int, lasted time.Duration) error {
	if again == 0 {
		return nil
	}
	span := ""
	if lasted > 0 {
		span = " in " + lasted.Round(time.Millisecond).String()
	}
	_, err := fmt.Fprintf(w, "%s  ... the same %d times more%s\n", strings.Repeat(" ", len(timeOfStory)), again, span)
	return err
}

// when is the time of day, or of the boot where the recording has no other.
func (r Recorded) when() string {
	if r.Wall.IsZero() {
		return fmt.Sprintf("%*.3f", len(timeOfStory), time.Duration(r.Observation.Now).Seconds())
	}
	return r.Wall.Format(timeOfStory)
}

// line is a step in one line. Renewals and published positions come and go in a
// quiet cluster, and waits count down: neither makes a line of its own.
func (r Recorded) line() string {
	o := r.Observation
	text := fmt.Sprintf("%-8s %-8s %s", o.Self.Name, o.Node.Value.Mode, r.Reason())
	if o.Lease.Term != 0 {
		text += fmt.Sprintf(", term %d", o.Lease.Term)
	}
	if d := r.Detail(); d != "" && !counting[r.Reason()] {
		text += ": " + strings.Join(strings.Fields(d), " ")
	}
	actions := slices.DeleteFunc(r.Actions(), func(a string) bool { return a == "Renew" || strings.HasPrefix(a, "PutStatus") })
	if len(actions) > 0 {
		text += " -> " + strings.Join(actions, ", ")
	}
	return text
}

// counting are reasons whose detail is a clock.
var counting = map[cluster.Reason]bool{"waiting_for_lease_to_end": true}

// shortly shows the fields of an action.
func shortly(fields any) string {
	object, ok := fields.(map[string]any)
	if !ok || len(object) == 0 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(object)) {
		parts = append(parts, name+" "+show(object[name]))
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// show is a tree in one line, cut to what a person reads.
func show(tree any) string {
	const longest = 120
	switch v := tree.(type) {
	case nil:
		return "nothing"
	case string:
		return v
	case json.Number:
		return v.String()
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return err.Error()
	}
	if len(raw) > longest {
		return string(raw[:longest]) + "..."
	}
	return string(raw)
}
