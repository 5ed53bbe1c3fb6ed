package pgfake

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Site is all servers of one world, so that they can stream from each other.
type Site struct {
	// Reach reports whether packets get from one member to another and back;
	// nil for always. A machine without power is reached by nobody.
	Reach func(from, to *Server) bool
	// Carry reports whether packets of a connection that is up get from one member to
	// another, whatever becomes of those that go back; nil for as far as Reach says.
	Carry func(from, to *Server) bool
	// Jitter draws a duration in [0, spread); nil for always 0.
	Jitter func(spread time.Duration) time.Duration
	// Notify is told what happens by itself; nil for nobody. It is called inside
	// Advance and the methods that take a time, and must not call back.
	Notify func(Happening)
	// Costs are how long things take, Tuning what servers are configured with.
	Costs  Costs
	Tuning Tuning
	// Traffic are the clients of every server; the zero value is none.
	Traffic Traffic

	traps   Traps
	servers []*Server
	commits []record
	archive []archived
	pids    int
	systems int
	highest cluster.Timeline
	round   uint64          // of streaming, see pump
	at      cluster.Instant // of the last step
	due     cluster.Instant // what next gave after it, while dueKnown
	// dueKnown: nothing has happened since due was worked out.
	dueKnown bool
}

// Cost is Base and up to Spread more.
type Cost struct{ Base, Spread time.Duration }

// Costs are how long things take.
type Costs struct {
	// Start is of a server that was stopped cleanly, Recovery what is added
	// after a crash, Stop a fast stop, Die an immediate one.
	Start, Recovery, Stop, Die Cost
	// Promote is a promotion with nothing left to replay.
	Promote Cost
	// Settle is how long after a promotion its checkpoint is written by itself.
	Settle Cost
	Checkpoint, InitDB, Clone,
	Rewind Cost
	// Repoint is a reload until the receiver of the old upstream is gone.
	Repoint Cost
}

// Tuning is what servers are configured with, and how the wire between them is.
type Tuning struct {
	// Latency is one way between two members.
	Latency time.Duration
	// Retry is wal_retrieve_retry_interval.
	Retry time.Duration
	// ReceiverTimeout and SenderTimeout are when a dead peer is given up.
	ReceiverTimeout, SenderTimeout time.Duration
	// StuckPatience is how long Follow waits for a receiver before it ends it.
	StuckPatience time.Duration
	// Segment is the size of a WAL file, KeepWAL is wal_keep_size, SlotKeep is
	// max_slot_wal_keep_size (0 for no bound), all in bytes.
	Segment, KeepWAL, SlotKeep cluster.LSN
	// ReplayRate is how many bytes of backlog a promotion replays in a second.
	ReplayRate uint64
}

// record is a commit record: where it ends, and on which branch.
type record struct {
	branch  *branch
	lsn     cluster.LSN
	server  *Server
	outcome Outcome
}

// NewSite makes a world without servers. Costs and Tuning are those of a small
// server under the parameters pgkeeper writes; both may be changed before use.
func NewSite(traps Traps) *Site {
	const ms = time.Millisecond
	return &Site{
		traps: traps,
		Costs: Costs{
			Start: Cost{20 * ms, 60 * ms}, Recovery: Cost{50 * ms, 800 * ms}, Stop: Cost{15 * ms, 45 * ms}, Die: Cost{ms, 15 * ms},
			Promote: Cost{16 * ms, 80 * ms}, Settle: Cost{5 * time.Second, 20 * time.Second}, Checkpoint: Cost{20 * ms, 100 * ms},
			InitDB: Cost{200 * ms, 200 * ms}, Clone: Cost{300 * ms, 1500 * ms}, Rewind: Cost{300 * ms, 1000 * ms}, Repoint: Cost{10 * ms, 16 * ms},
		},
		Tuning: Tuning{
			Latency: 300 * time.Microsecond, Retry: 100 * ms, ReceiverTimeout: 5 * time.Second, SenderTimeout: 5 * time.Second,
			StuckPatience: 300 * ms, Segment: DefaultSegment, KeepWAL: 128 << 20, ReplayRate: 50 << 20,
		},
	}
}

// Server returns the member's server, made when first asked for: an empty
// directory on a machine that is on.
func (s *Site) Server(name string) *Server {
	if v := s.find(name); v != nil {
		return v
	}
	v := &Server{site: s, name: name, number: len(s.servers), machine: machine{on: true}}
	v.dir = directory{data: cluster.DataEmpty}
	v.proc = process{mode: cluster.ModeStopped}
	s.servers = append(s.servers, v)
	return v
}

func (s *Site) find(name string) *Server {
	for _, v := range s.servers {
		if v.name == name {
			return v
		}
	}
	return nil
}

// reaches reports whether a and b can talk.
func (s *Site) reaches(a, b *Server) bool {
	return a.machine.on && b.machine.on && (s.Reach == nil || s.Reach(a, b))
}

// carries reports whether what a sends on a connection that is up gets to b.
func (s *Site) carries(a, b *Server) bool {
	if s.Carry == nil {
		return s.reaches(a, b)
	}
	return a.machine.on && b.machine.on && s.Carry(a, b)
}

func (s *Site) draw(c Cost) time.Duration {
	if s.Jitter == nil || c.Spread <= 0 {
		return c.Base
	}
	return c.Base + s.Jitter(c.Spread)
}

func (s *Site) tell(h Happening) {
	if s.Notify != nil {
		s.Notify(h)
	}
}

// segment is the begin of the WAL file that holds lsn.
func (s *Site) segment(lsn cluster.LSN) cluster.LSN { return lsn / s.Tuning.Segment * s.Tuning.Segment }

// Advance does what is due until now, in its order: starts, stops, promotions,
// checkpoints and copies end, WAL is streamed.
func (s *Site) Advance(now cluster.Instant) {
	for {
		at := s.Due()
		if at == 0 || at >= now {
			break
		}
		s.step(max(at, s.at))
	}
	s.step(now)
}

// Due is when the next thing happens by itself, 0 for never. It costs nothing as
// long as nobody has looked or changed anything, which all goes through Advance.
func (s *Site) Due() cluster.Instant {
	if !s.dueKnown {
		s.due, _ = s.next()
		s.dueKnown = true
	}
	return s.due
}

// Round changes whenever something has happened to a server, or may have: whoever
// looks between two equal rounds sees the same, but for the time.
func (s *Site) Round() uint64 { return s.round }

func (s *Site) step(now cluster.Instant) {
	s.at, s.dueKnown = now, false
	for _, v := range s.servers {
		v.serve(now)
		v.due(now)
	}
	s.round++
	for _, v := range s.servers {
		v.pump(now)
	}
	for _, v := range s.servers {
		v.settle(now)
	}
}

// NextEvent is when Advance has something to do again, if nothing else happens.
// Streaming and its timeouts are no events: they are worked out when somebody
// looks.
func (s *Site) NextEvent(now cluster.Instant) (at cluster.Instant, any bool) {
	at, any = s.next()
	return max(at, now), any
}

func (s *Site) next() (at cluster.Instant, any bool) {
	for _, v := range s.servers {
		if t := v.next(); t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at, at != 0
}

// stillWaiting is how long until something is looked at again that should have
// been over.
const stillWaiting = 50 * time.Millisecond

// later is at, or some time from now when that has passed and changed nothing.
func (s *Site) later(at cluster.Instant) cluster.Instant {
	if at != 0 && at <= s.at {
		return s.at.Add(stillWaiting)
	}
	return at
}
