package recorder

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// Explain explains the latest step at the moment now, without its secrets; nil
// before the first. It is made from memory and never waits.
func (r *Recorder) Explain(now cluster.Instant) *cluster.Explanation {
	l := r.latest.Load()
	if l == nil {
		return nil
	}
	e := told(election.Account(&l.Observation, l.Decision, l.Since, now))
	e.Scope = r.scope
	return &e
}

// ExplainLast explains the last step of a folder of recordings, for an agent that
// does not run; wall is the time of day now. The error is Last's.
func ExplainLast(dir string, wall time.Time) (cluster.Explanation, error) {
	last, since, err := Last(dir)
	if err != nil {
		return cluster.Explanation{}, err
	}
	o := last.Observation
	d := election.Decide(&o)
	d.Reason, d.Detail = last.Reason(), last.Detail() // what was decided then, whatever this version would
	e := told(election.Account(&o, d, o.Now, o.Now))
	e.Scope, e.SinceMS = last.Head.Scope, max(0, last.Wall.Sub(since.Wall).Milliseconds())
	e.AgeMS = max(0, wall.Sub(last.Wall).Milliseconds())
	e.Verdict = fmt.Sprintf("its agent is down; at its last step, %s ago: %s", wall.Sub(last.Wall).Round(time.Second), e.Verdict)
	e.Source = fmt.Sprintf("the recording in %s, whose last step was at %s: this is how it was then", dir, last.Wall.Format(time.RFC3339))
	return e, nil
}

// longestText bounds one text of an explanation, in bytes; most are a line.
const longestText = 600

// told cleans and bounds every text.
func told(e cluster.Explanation) cluster.Explanation {
	for _, s := range []*string{&e.Verdict, &e.Why, &e.Next, &e.Detail} {
		*s = bounded(*s)
	}
	for i := range e.Observed {
		e.Observed[i].Value = bounded(e.Observed[i].Value)
	}
	for _, list := range [][]string{e.Decided, e.ToPromote, e.ToFollow} {
		for i := range list {
			list[i] = bounded(list[i])
		}
	}
	return e
}

// bounded is s as one line of a bounded length.
func bounded(s string) string {
	if s = strings.Join(strings.Fields(clean(s)), " "); len(s) <= longestText {
		return s
	}
	end := longestText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}
