package routing

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// eventPatience is how long a stream of events may be silent: it has a heartbeat a second.
const eventPatience = 3 * time.Second

// eventMost bounds one event, in bytes.
const eventMost = 4 << 20

// ErrEvents wraps what ends a stream of events.
var ErrEvents = errors.New("events of an agent")

// ErrNoAgent: no agent is known to listen to.
var ErrNoAgent = fmt.Errorf("%w: no agent is known yet", ErrEvents)

// Listen follows GET /events of the agent at base (http://host:8008) and tells what it
// says of the topology until ctx ends or the stream does, which its error explains. An
// agent that is itself cut off from the store is left: what it says of others is old.
func Listen(ctx context.Context, client *http.Client, base string, now func() cluster.Instant, tell func(News)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/events", nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEvents, err)
	}
	silent := &silence{ended: func() { cancel(fmt.Errorf("%w: %s said nothing for %v", ErrEvents, base, eventPatience)) }}
	silent.heard()
	defer silent.end()
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEvents, cmpCause(ctx, err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answered %s", ErrEvents, base, answer.Status)
	}
	stream := stream{now: now, tell: tell}
	err = readEvents(answer.Body, func(e event) error {
		silent.heard()
		return stream.take(e)
	})
	return fmt.Errorf("%w: %s: %w", ErrEvents, base, cmpCause(ctx, err))
}

// cmpCause prefers why a context ended to the error that came of it.
func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// silence ends something that has not been heard of for eventPatience.
type silence struct {
	ended func()
	stop  func() bool
	undo  context.CancelFunc
}

func (s *silence) heard() {
	s.end()
	pause, cancel := context.WithTimeout(context.Background(), eventPatience)
	s.undo = cancel
	s.stop = context.AfterFunc(pause, s.ended)
}

func (s *silence) end() {
	if s.stop != nil {
		s.stop()
		s.undo()
	}
}

// event is one server-sent event.
type event struct {
	name, id string
	data     []byte
}

// revision is the store's, with which an agent begins its ids; 0 without one.
func (e event) revision() int64 {
	number, _, _ := strings.Cut(e.id, "-")
	revision, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

// readEvents parses server-sent events until take fails or the stream ends.
func readEvents(r io.Reader, take func(event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), eventMost)
	var e event
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if e.name != "" || e.data != nil {
				if err := take(e); err != nil {
					return err
				}
			}
			e = event{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// stream puts a topology together from events.
type stream struct {
	now      func() cluster.Instant
	tell     func(News)
	topology *cluster.Topology
	// checked tells that a heartbeat has shown the agent to see the store.
	checked  bool
	revision int64
}

// heartbeat is what is read of the event of that name.
type heartbeat struct {
	Revision   int64  `json:"revision"`
	ViewAgeMS  int64  `json:"view_age_ms"`
	StoreError string `json:"store_error"`
}

// errCutOff: the agent does not see the store any more.
var errCutOff = errors.New("the agent is cut off from etcd")

func (s *stream) take(e event) error {
	s.revision = max(s.revision, e.revision())
	if e.name == "heartbeat" {
		return s.beat(e.data)
	}
	if s.topology == nil && e.name != "snapshot" {
		return nil // positions before the store was seen
	}
	if err := s.fold(e.name, e.data); err != nil {
		return fmt.Errorf("event %s: %w", e.name, err)
	}
	if s.checked && e.name != "lsn" {
		s.news()
	}
	return nil
}

func (s *stream) beat(data []byte) error {
	var b heartbeat
	if err := json.Unmarshal(data, &b); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	if b.StoreError != "" && b.ViewAgeMS > eventPatience.Milliseconds() {
		return fmt.Errorf("%w: %s", errCutOff, b.StoreError)
	}
	s.revision = max(s.revision, b.Revision)
	if s.topology == nil {
		return nil
	}
	if !s.checked {
		s.checked = true
		s.news()
		return nil
	}
	s.tell(News{Revision: s.revision, At: s.now()})
	return nil
}

// news tells the topology as it is now; the listener keeps it.
func (s *stream) news() {
	copied := *s.topology
	copied.Members = slices.Clone(s.topology.Members)
	copied.Revision = s.revision
	s.tell(News{Topology: &copied, Revision: s.revision, At: s.now()})
}

func (s *stream) fold(name string, data []byte) error {
	switch name {
	case "snapshot":
		s.topology = &cluster.Topology{}
		if err := json.Unmarshal(data, s.topology); err != nil {
			return err
		}
		s.revision = max(s.revision, s.topology.Revision)
	case "leader_lost":
		s.topology.Leader = nil
	case "leader":
		s.topology.Leader = &cluster.TopologyLeader{}
		return json.Unmarshal(data, s.topology.Leader)
	case "member", "member_lost":
		var m cluster.TopologyMember
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		s.topology.Members = slices.DeleteFunc(s.topology.Members, func(old cluster.TopologyMember) bool { return old.Name == m.Name })
		if name == "member" {
			s.topology.Members = append(s.topology.Members, m)
		}
	}
	return nil
}
