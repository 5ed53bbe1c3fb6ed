package restapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// bodyLimit is the largest body taken: a configuration of many thousand lines.
const bodyLimit = 64 << 10

// bodyTime is how long a client may take to send a body.
const bodyTime = 10 * time.Second

// bodyRule says what an operation does with a body.
type bodyRule int

const (
	// bodyRequired: 411 without a length, 400 when empty.
	bodyRequired bodyRule = iota
	// bodyOptional: nothing and an empty body mean the same.
	bodyOptional
	// bodyIgnored: read, within the bounds, and not looked at.
	bodyIgnored
)

// readBody reads a bounded body within a bounded time.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, rule bodyRule) ([]byte, *answer) {
	if rule == bodyRequired && r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		return nil, &answer{code: http.StatusLengthRequired, text: "the request has no Content-Length and no body: send a JSON object"}
	}
	control := http.NewResponseController(w)
	// A transport without deadlines (a test's recorder) reads without one.
	_ = control.SetReadDeadline(s.options.Wall().Add(bodyTime))
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	if err == nil && len(body) <= bodyLimit {
		// Only now: what is left of a body that failed is read to its end by
		// net/http, which must not wait for it either.
		_ = control.SetReadDeadline(time.Time{})
	}
	switch {
	case err != nil:
		return nil, &answer{code: http.StatusBadRequest, text: "read the request body: " + err.Error()}
	case len(body) > bodyLimit:
		return nil, &answer{code: http.StatusRequestEntityTooLarge, text: "the request body is larger than " + strconv.Itoa(bodyLimit) + " bytes"}
	}
	if rule == bodyIgnored {
		return nil, nil
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 && rule == bodyRequired {
		return nil, &answer{code: http.StatusBadRequest, text: "the request body is empty: send a JSON object"}
	}
	return body, nil
}

// fields are the members of a JSON object, each read as the type it must have.
// The first one that has another type is remembered in bad.
type fields struct {
	values map[string]json.RawMessage
	bad    *answer
}

// parseFields reads a JSON object; nothing at all is an empty one.
func parseFields(body []byte) *fields {
	f := &fields{}
	if len(body) == 0 {
		return f
	}
	if !json.Valid(body) {
		var v any
		err := json.Unmarshal(body, &v)
		f.fail("the request body is not JSON: %v", err)
		return f
	}
	if depth(body) > deepest {
		f.fail("the request body nests deeper than %d levels", deepest)
		return f
	}
	if body[0] != '{' {
		f.fail("the request body is %s: want a JSON object", clip(body))
		return f
	}
	if err := json.Unmarshal(body, &f.values); err != nil {
		f.fail("the request body is not a JSON object: %v", err)
	}
	return f
}

// deepest is how far a body may nest. A dynamic configuration needs five levels.
const deepest = 32

// depth is how far valid JSON nests.
func depth(body []byte) int {
	now, most, inText := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			now++
			most = max(most, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return most
}

func (f *fields) fail(format string, args ...any) {
	if f.bad == nil {
		a := refuse(http.StatusBadRequest, format, args...)
		f.bad = &a
	}
}

// raw returns a field; absent and null are the same.
func (f *fields) raw(name string) (json.RawMessage, bool) {
	value, found := f.values[name]
	return value, found && string(value) != "null"
}

// text reads a text.
func (f *fields) text(name string) string {
	var out string
	if value, found := f.raw(name); found && json.Unmarshal(value, &out) != nil {
		f.fail("field %q is %s: want a text", name, clip(value))
	}
	return out
}

// truth reads true or false.
func (f *fields) truth(name string) bool {
	var out bool
	if value, found := f.raw(name); found && json.Unmarshal(value, &out) != nil {
		f.fail("field %q is %s: want true or false", name, clip(value))
	}
	return out
}

// timeUnits are PostgreSQL's, in seconds.
var timeUnits = map[string]float64{"": 1, "s": 1, "ms": 0.001, "min": 60, "h": 3600, "d": 86400}

// seconds reads a positive time: a number of seconds, or a text such as "90s".
func (f *fields) seconds(name string) float64 {
	value, found := f.raw(name)
	if !found {
		return 0
	}
	var number float64
	if json.Unmarshal(value, &number) == nil && number > 0 && number <= longestTime {
		return number
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		if number, ok := parseSeconds(text); ok && number > 0 {
			return number
		}
	}
	f.fail("field %q is %s: want a positive number of seconds, or a text such as \"90s\"", name, clip(value))
	return 0
}

// parseSeconds reads a time with or without a unit: 5, 90s, 1.5min. None is negative or
// longer than longestTime.
func parseSeconds(text string) (seconds float64, ok bool) {
	text = strings.TrimSpace(text)
	end := strings.LastIndexAny(text, "0123456789.") + 1
	factor, known := timeUnits[strings.TrimSpace(text[end:])]
	number, err := strconv.ParseFloat(text[:end], 64)
	return number * factor, err == nil && known && number*factor >= 0 && number*factor <= longestTime
}

// longestTime bounds times a client asks for, in seconds: a year.
const longestTime = 365 * 86400

// clip shows a value in an answer, cut to a length a person reads.
func clip(value []byte) string {
	const longest = 60
	if len(value) > longest {
		return strconv.Quote(string(value[:longest])) + "..."
	}
	if json.Valid(value) {
		return string(value)
	}
	return strconv.Quote(string(value))
}
