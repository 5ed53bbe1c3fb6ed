package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgkeeper/pgkeeper/guard"
)

const (
	// idle is the longest wait for the server: a gate shows then that it is alive, and
	// repeats what it confirmed last.
	idle = 250 * time.Millisecond
	// closedIdle is that wait while the lease is over: it may be renewed any moment, and
	// commits wait.
	closedIdle = 5 * time.Millisecond
	// firstIdle is the first wait of a stream. The server takes no notice of what is
	// confirmed before it has caught up, which it does not tell.
	firstIdle = time.Millisecond
	// bufferSize takes in one read what the server sends while the gate is not running.
	bufferSize = 256 << 10
	// longest is the longest message that is looked at as a whole.
	longest = 32 << 10
)

var (
	errTimeout  = errors.New("nothing came")
	errProtocol = errors.New("server breaks the protocol")
)

// wire is a connection to the server, after authentication.
type wire interface {
	// Read returns errTimeout when nothing comes for as long as Patience says.
	Read(p []byte) (int, error)
	// Write writes all or nothing, and never waits: false when there is no room.
	Write(p []byte) (bool, error)
	Patience(d time.Duration) error
}

// stream is one connection: it reads the WAL that the server sends and confirms it.
type stream struct {
	wire   wire
	warden *warden
	page   *guard.Page

	buf        []byte
	have       int // bytes in buf
	skip       int // bytes of a message that are thrown away when they come
	wait       time.Duration
	position   uint64 // received up to here
	confirmed  uint64
	sent       int64 // the server's clock when it sent that, in microseconds since 2000
	asked      bool  // the server wants an answer
	ended      bool  // the server ended the copy: its timeline has ended
	ready      bool  // the server waits for a command
	failed     error // what the server complained about
	row        [][]byte
	statusLine [39]byte
}

func newStream(w wire, warden *warden, page *guard.Page) *stream {
	return &stream{wire: w, warden: warden, page: page, buf: make([]byte, bufferSize)}
}

// run streams until the connection ends: from wherever the server is now, and again
// from there when its timeline ends, as at a promotion.
func (s *stream) run() error {
	defer s.page.Stream(false)
	for {
		if err := s.begin(); err != nil {
			return err
		}
		if err := s.follow(); err != nil {
			return err
		}
		s.page.Stream(false)
		if _, err := s.wire.Write([]byte{'c', 0, 0, 0, 4}); err != nil {
			return err
		}
		if err := s.command(""); err != nil {
			return err
		}
	}
}

// begin asks the server where it is and has it stream from there.
func (s *stream) begin() error {
	if err := s.command("IDENTIFY_SYSTEM"); err != nil {
		return err
	}
	if len(s.row) < 3 {
		return fmt.Errorf("%w: IDENTIFY_SYSTEM gave %d columns", errProtocol, len(s.row))
	}
	timeline, where := string(s.row[1]), string(s.row[2])
	position, err := parsePosition(where)
	if err != nil {
		return err
	}
	s.position, s.confirmed, s.sent, s.asked, s.ended = position, 0, 0, false, false
	return s.query("START_REPLICATION PHYSICAL " + where + " TIMELINE " + timeline)
}

// parsePosition reads "16/B374D848".
func parsePosition(text string) (uint64, error) {
	high, low, found := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if !found || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("%w: %q is no position in the WAL", errProtocol, text)
	}
	return h<<32 | l, nil
}

// query sends a command.
func (s *stream) query(text string) error {
	line, err := (&pgproto3.Query{String: text}).Encode(nil)
	if err == nil {
		_, err = s.wire.Write(line)
	}
	return err
}

// command sends a command, if any, and reads until the server is ready for the next.
func (s *stream) command(text string) error {
	s.ready, s.row = false, nil
	if text != "" {
		if err := s.query(text); err != nil {
			return err
		}
	}
	for !s.ready {
		if err := s.read(idle); err != nil && !errors.Is(err, errTimeout) {
			return err
		}
	}
	return nil
}

// follow confirms until the server ends the copy. What waits for a confirmation already
// is confirmed at once: nothing else would come for it until the next WAL. The page says
// so before: whoever has an acknowledgement finds there who gave it.
func (s *stream) follow() error {
	s.wait = firstIdle
	s.page.Stream(true)
	if err := s.confirm(); err != nil {
		return err
	}
	for !s.ended {
		err := s.read(s.wait)
		quiet := errors.Is(err, errTimeout)
		switch {
		case quiet:
			s.wait = min(2*s.wait, idle)
		case err != nil:
			return err
		}
		if quiet || s.asked || s.position > s.confirmed {
			if err := s.confirm(); err != nil {
				return err
			}
		}
	}
	return nil
}

// read takes in all that the server has sent so far: however many commits that are, one
// confirmation answers them.
func (s *stream) read(patience time.Duration) error {
	if err := s.wire.Patience(patience); err != nil {
		return err
	}
	n, err := s.wire.Read(s.buf[s.have:])
	s.page.Beat(s.warden.boot())
	if err != nil {
		return err
	}
	s.have += n
	if err := s.parse(); err != nil {
		return err
	}
	return s.failed
}

// confirm sends the newest position, if the lease allows it at this very moment.
func (s *stream) confirm() error {
	line := s.statusLine[:]
	line[0], line[5] = 'd', 'r'
	binary.BigEndian.PutUint32(line[1:], uint32(len(line)-1))
	for _, at := range []int{6, 14, 22} { // written, flushed, applied
		binary.BigEndian.PutUint64(line[at:], s.position)
	}
	if !s.warden.open() {
		if s.position > s.confirmed {
			s.page.Withhold()
		}
		s.wait = closedIdle
		return nil
	}
	sent, err := s.wire.Write(line)
	if err != nil || !sent {
		return err // no room: what is not read yet says the same, and this is repeated
	}
	if s.position > s.confirmed {
		s.page.Confirm(s.position, s.delay())
	}
	s.confirmed, s.asked, s.sent = s.position, false, 0
	return nil
}

// epoch is the beginning of PostgreSQL's time, 2000-01-01, in Unix time.
const epoch = 946684800 * time.Second

// delay is how long ago the server sent what was just confirmed; negative when it did
// not say.
func (s *stream) delay() time.Duration {
	if s.sent == 0 {
		return -1
	}
	return max(0, s.warden.seen-epoch-time.Duration(s.sent)*time.Microsecond)
}
