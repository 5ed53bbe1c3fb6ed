package restapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The rhythm of GET /events.
const (
	beatEvery = time.Second
	// positionsEvery is the least time between two events of replay positions.
	positionsEvery = 250 * time.Millisecond
	// eventsKept is how many changes of the topology can be resumed from; a listener
	// that is so far behind is dropped.
	eventsKept = 256
	// unheard is how long nothing is looked at while nobody listens and nothing changes.
	unheard = time.Minute
	// DefaultListeners is how many may listen to GET /events at once.
	DefaultListeners = 512
)

// hub turns statuses into events and keeps the last of them for all listeners. One
// goroutine feeds it; a listener takes from it at its own pace. What is taken is in
// ready-made bytes, so a lock is held for the time of a copy.
type hub struct {
	limit int
	// epoch tells the ids of this process from those of another.
	epoch string

	mu        sync.Mutex
	topology  *cluster.Topology // nil: the store was not seen yet
	kept      []event           // the last changes, oldest first
	last      int64             // number of the newest change
	lastID    string
	positions passing
	beat      passing
	changed   chan struct{}
	closed    bool
	listeners int
	// joined has something to receive when the first listener has come.
	joined chan struct{}

	// what only the feeding goroutine uses
	fed feed
}

// event is one change of the topology, as it goes over the wire.
type event struct {
	number int64
	id     string
	text   []byte
}

// passing is news of which only the newest counts.
type passing struct {
	version int64
	text    []byte
}

func newHub(limit int, epoch string) *hub {
	if limit <= 0 {
		limit = DefaultListeners
	}
	return &hub{limit: limit, epoch: epoch[:min(8, len(epoch))], changed: make(chan struct{}), joined: make(chan struct{}, 1), fed: feed{seen: map[string]sighting{}}}
}

// Follow makes events of what the statuses show until ctx ends; then all listeners are
// sent away. It never makes anybody wait.
func (s *Server) Follow(ctx context.Context) {
	defer s.hub.close()
	for ctx.Err() == nil {
		f := s.facts()
		f.quick = s.progress()
		wait := s.hub.update(f)
		pause, cancel := context.WithTimeout(ctx, wait)
		select {
		case <-s.options.Changed:
		case <-s.hub.joined:
			s.hub.fed.beatAt = 0
		case <-pause.Done():
		}
		cancel()
	}
}

// progress is the newest quick look at the server's positions, asked for only while
// somebody listens.
func (s *Server) progress() *cluster.Progress {
	if s.options.Progress == nil || !s.hub.heard() {
		return nil
	}
	return s.options.Progress()
}

// heard reports whether anybody listens.
func (h *hub) heard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listeners > 0
}

// join takes a place among the listeners; false when there is none. The first one is not
// told what was news to those before it.
func (h *hub) join() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.listeners >= h.limit {
		return false
	}
	if h.listeners++; h.listeners == 1 {
		h.positions.text, h.beat.text = nil, nil
		select {
		case h.joined <- struct{}{}:
		default: // it is told already
		}
	}
	return true
}

func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners--
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	close(h.changed)
}

// publish hands new events to whoever waits. Changes get their numbers here.
func (h *hub) publish(topology *cluster.Topology, changes []change, positions, beat []byte) {
	if len(changes) == 0 && positions == nil && beat == nil && topology == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if topology != nil {
		h.topology = topology
		if h.last == 0 { // the first sight of the store: something to resume from
			h.last, h.lastID = 1, h.id(topology.Revision, 1)
		}
	}
	for _, c := range changes {
		h.last++
		h.lastID = h.id(topology.Revision, h.last)
		h.kept = append(h.kept, event{h.last, h.lastID, render(c.name, h.lastID, c.data)})
	}
	if extra := len(h.kept) - eventsKept; extra > 0 {
		h.kept = append([]event(nil), h.kept[extra:]...)
	}
	if positions != nil {
		h.positions = passing{h.positions.version + 1, positions}
	}
	if beat != nil {
		h.beat = passing{h.beat.version + 1, beat}
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// id names a change: the store's revision for people, and what finds it again here.
func (h *hub) id(revision, number int64) string {
	return fmt.Sprintf("%d-%s-%d", revision, h.epoch, number)
}

// cursor is how far one listener is. The zero value has been told nothing.
type cursor struct {
	number          int64
	positions, beat int64
}

// resume finds the place of an id that this process gave out and still remembers.
func (h *hub) resume(id string) cursor {
	_, rest, _ := strings.Cut(id, "-")
	epoch, count, _ := strings.Cut(rest, "-")
	number, err := strconv.ParseInt(count, 10, 64)
	if err != nil || epoch != h.epoch {
		return cursor{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if number < 1 || number > h.last || h.lost(number) {
		return cursor{}
	}
	return cursor{number: number}
}

// lost reports whether changes after number are no longer kept.
func (h *hub) lost(number int64) bool { return number < h.last-int64(len(h.kept)) }

// next gives what c has not been told, and what will be closed when there is more. ok is
// false when the listener must go: it is too far behind, or all are sent away.
func (h *hub) next(c *cursor) (text []byte, more <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed, c.number > 0 && h.lost(c.number):
		return nil, nil, false
	case c.number == 0 && h.topology != nil:
		text = render("snapshot", h.lastID, h.topology)
		c.number = h.last
	}
	for i := max(0, len(h.kept)-int(h.last-c.number)); c.number > 0 && i < len(h.kept); i++ {
		text = append(text, h.kept[i].text...)
		c.number = h.kept[i].number
	}
	text = append(text, h.positions.after(&c.positions)...)
	return append(text, h.beat.after(&c.beat)...), h.changed, true
}

// after gives the text when it is newer than the version told.
func (p passing) after(told *int64) []byte {
	if *told == p.version {
		return nil
	}
	*told = p.version
	return p.text
}
