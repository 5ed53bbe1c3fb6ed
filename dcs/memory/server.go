package memory

import (
	"context"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// Server shares a Core between concurrent clients and wakes their watches.
type Server struct {
	mu   sync.Mutex
	core *Core
	now  func() cluster.Instant
	// changed is closed and replaced whenever watches have something to look at.
	changed chan struct{}
	late    []Call
	clients map[string]*Client
}

// NewServer gives an empty store on the given clock.
func NewServer(now func() cluster.Instant) *Server {
	return &Server{core: NewCore(now), now: now, changed: make(chan struct{}), clients: map[string]*Client{}}
}

// With runs f on the Core under the lock, then wakes the watches: for leader
// changes, compactions, backups, floors.
func (s *Server) With(f func(*Core)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.core)
	s.wake()
}

// Advance applies the expiries that are due; call it after the clock moved.
func (s *Server) Advance() { s.With((*Core).Advance) }

// ApplyLate applies the requests that clients lost as Late, in order, and
// returns their answers, which nobody waits for any more.
func (s *Server) ApplyLate() []Answer {
	var answers []Answer
	s.With(func(c *Core) {
		for _, call := range s.late {
			answers = append(answers, c.Do(call))
		}
		s.late = nil
	})
	return answers
}

func (s *Server) do(call Call) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.core.revision
	answer := s.core.Do(call)
	if s.core.revision != before || call.Kind == CallGrant || call.Kind == CallKeepAlive {
		s.wake()
	}
	return answer
}

func (s *Server) park(call Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, call)
}

func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// events pulls what a watch has not seen, and what to wait on for more.
func (s *Server) events(prefix string, from int64) ([]dcs.WatchEvent, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.core.Events(prefix, from)
	return found, s.changed, err
}

// Expire applies expiries when they are due until ctx ends. It is for tests in
// real or bubble time, where the clock moves by itself.
func (s *Server) Expire(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		at, ok := s.core.NextExpiry()
		changed := s.changed
		s.mu.Unlock()
		if !ok {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		due, cancel := context.WithTimeout(ctx, max(0, at.Sub(s.now())))
		select {
		case <-due.Done():
			s.Advance()
		case <-changed:
		}
		cancel()
	}
}
