package pgrw

import (
	"bufio"
	"io"
	"strings"
)

// sseLine bounds one line of an event, in bytes: a cluster's snapshot is one line.
const sseLine = 4 << 20

// sseEvent is one server-sent event. Ids are not kept: a stream that is begun anew begins
// with a snapshot, which is all there is to resume.
type sseEvent struct{ name, data string }

// sseReader reads the format of server-sent events, as far as agents use it.
type sseReader struct{ lines *bufio.Scanner }

func newSSEReader(r io.Reader) *sseReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, sseLine)
	return &sseReader{lines}
}

// next returns the next event that has data; io.EOF at the end of the stream, also in
// the middle of an event, which then does not count.
func (r *sseReader) next() (sseEvent, error) {
	var e sseEvent
	var data []string
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" {
			if len(data) > 0 {
				e.data = strings.Join(data, "\n")
				return e, nil
			}
			e = sseEvent{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		}
	}
	if err := r.lines.Err(); err != nil {
		return sseEvent{}, err
	}
	return sseEvent{}, io.EOF
}
