package restapi

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// question is the query of a health check: lag, lag_time, min_lsn, replication_state,
// mode, pooler and any number of tag_<name>. Other parameters are ignored, as Patroni ignores them.
type question struct {
	lag      uint64
	lagGiven bool
	// lagTime is in milliseconds.
	lagTime      uint64
	lagTimeGiven bool
	// minLSN is what must have been replayed; 0 when nothing was asked.
	minLSN           cluster.LSN
	replicationState string
	// mode is what /readiness measures: apply (replay) or write (receive).
	mode string
	// pooler: the pooler that this member drives must serve, too.
	pooler bool
	tags   map[string][]string
}

// parseQuestion reads a raw query. Unlike Patroni, which takes a lag it cannot
// read for "no limit", it refuses what it does not understand.
func parseQuestion(raw string) (question, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return question{}, fmt.Errorf("query %q: %w", raw, err)
	}
	var q question
	if values.Has("lag") {
		if q.lag, err = parseSize(values.Get("lag")); err != nil {
			return question{}, fmt.Errorf("parameter lag: %w", err)
		}
		q.lagGiven = true
	}
	if values.Has("lag_time") {
		seconds, ok := parseSeconds(values.Get("lag_time"))
		if !ok {
			return question{}, fmt.Errorf("parameter lag_time: %q is not a time: want seconds, or a number with ms, s, min, h or d, such as 5s", values.Get("lag_time"))
		}
		q.lagTime, q.lagTimeGiven = uint64(seconds*1000), true
	}
	if values.Has("min_lsn") {
		if q.minLSN, err = cluster.ParseLSN(values.Get("min_lsn")); err != nil {
			return question{}, fmt.Errorf("parameter min_lsn: %w", err)
		}
	}
	q.replicationState = values.Get("replication_state")
	q.mode = values.Get("mode")
	if q.mode != "" && q.mode != "apply" && q.mode != "write" {
		return question{}, fmt.Errorf("parameter mode: %q is neither apply nor write", q.mode)
	}
	if values.Has("pooler") {
		if values.Get("pooler") != string(cluster.PoolerServing) {
			return question{}, fmt.Errorf("parameter pooler: %q is not %s, which is all that can be asked for", values.Get("pooler"), cluster.PoolerServing)
		}
		q.pooler = true
	}
	for key, wanted := range values {
		if tag, found := strings.CutPrefix(key, "tag_"); found {
			if q.tags == nil {
				q.tags = map[string][]string{}
			}
			q.tags[tag] = wanted
		}
	}
	return q, nil
}

// asksForLag reports whether the answer rests on how far the server is.
func (q question) asksForLag() bool { return q.lagGiven || q.lagTimeGiven || q.minLSN.Known() }

// lagAllows reports whether position is near enough, and lately enough. A lag that is
// asked for and not known is too much: unknown is not zero.
func (q question) lagAllows(f facts, position cluster.LSN) bool {
	if position < q.minLSN {
		return false
	}
	if q.lagGiven {
		lag, known := f.lag(position)
		if !f.limits.allows(limit{"bytes " + q.mode, q.lag}, lag, known) {
			return false
		}
	}
	if !q.lagTimeGiven {
		return true
	}
	late, known := f.lagTime()
	return f.limits.allows(limit{"time", q.lagTime}, uint64(milliseconds(late)), known)
}

// matches reports whether every tag asked for has the value asked for. A tag
// that is not set has none.
func (q question) matches(tags cluster.Tags) bool {
	for name, wanted := range q.tags {
		value, set := tags[name]
		if !set {
			return false
		}
		for _, want := range wanted {
			if tagText(value) != want {
				return false
			}
		}
	}
	return true
}

// tagText writes a tag's value as a query does: texts as they are, everything
// else as in JSON.
func tagText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strings.ToLower(fmt.Sprint(value))
}

// sizeUnits are PostgreSQL's, in powers of 1024, compared without regard to case.
var sizeUnits = map[string]float64{
	"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50,
}

// parseSize reads a number of bytes, with or without a unit: 1048576, 16kB, 1.5 GB.
func parseSize(s string) (uint64, error) {
	trimmed := strings.TrimSpace(s)
	end := strings.LastIndexAny(trimmed, "0123456789.") + 1
	factor, known := sizeUnits[strings.ToLower(strings.TrimSpace(trimmed[end:]))]
	number, err := strconv.ParseFloat(trimmed[:end], 64)
	if err != nil || !known || number < 0 || math.IsInf(number, 0) || math.IsNaN(number) {
		return 0, fmt.Errorf("%q is not a size: want bytes, or a number with B, kB, MB, GB, TB or PB, such as 16MB", s)
	}
	bytes := number * factor
	if bytes >= math.MaxUint64 {
		return math.MaxUint64, nil
	}
	return uint64(bytes), nil
}
