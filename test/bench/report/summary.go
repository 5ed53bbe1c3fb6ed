package report

import "slices"

// Summary is what the trials of one row by one system come to.
type Summary struct {
	Build            string
	N                int
	Median, Min, Max float64
}

// Latest picks, of one row and system, the trials that count of the build that was measured last, so that results of
// an older build never mix with those of a newer one.
func Latest(trials []Trial, row, system string) []Trial {
	var build, at string
	for _, t := range trials {
		if t.Row == row && t.System == system && !t.Disturbed && t.At >= at {
			build, at = t.Build, t.At
		}
	}
	var picked []Trial
	for _, t := range trials {
		if t.Row == row && t.System == system && !t.Disturbed && t.Build == build {
			picked = append(picked, t)
		}
	}
	return picked
}

// Summarize is the median with the extremes. ok is false without trials.
func Summarize(trials []Trial) (s Summary, ok bool) {
	if len(trials) == 0 {
		return Summary{}, false
	}
	values := make([]float64, len(trials))
	for i, t := range trials {
		values[i] = t.Value
	}
	slices.Sort(values)
	s = Summary{Build: trials[0].Build, N: len(values), Min: values[0], Max: values[len(values)-1], Median: Quantile(values, 0.5)}
	return s, true
}

// Quantile is the q-quantile of sorted values, between neighbours where it falls between them.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// Verdict is how a row came out.
type Verdict string

// The verdicts.
const (
	Met     Verdict = "met"  // what is aimed at
	Reached Verdict = "must" // what must be reached, not what is aimed at
	Missed  Verdict = "missed"
	Open    Verdict = "–" // not measured
)

// Judge says how a row came out; peer is needed only where the row is relative to it.
func (r Row) Judge(s Summary, peer *Summary) Verdict {
	factor := 1.0
	if r.Relative {
		if peer == nil {
			return Open
		}
		factor = peer.Median
	}
	value := s.Median
	if r.Every {
		value = s.Max
		if r.More {
			value = s.Min
		}
	}
	switch {
	case r.holds(value, r.Aim*factor):
		return Met
	case r.holds(value, r.Must*factor):
		return Reached
	}
	return Missed
}

func (r Row) holds(value, limit float64) bool {
	if r.More {
		return value >= limit
	}
	return value <= limit
}
