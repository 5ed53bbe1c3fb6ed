package gate

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// server is a server as data: what it sends, piece by piece, and what it was sent.
type server struct {
	sends  [][]byte // what each read gets; nil for "nothing came"
	onRead func()   // called when a read has got something
	got    []uint64 // positions confirmed
	sent   []string // commands
	full   bool     // there is no room for an answer
	waits  []time.Duration
	wait   time.Duration
}

func (s *server) Read(p []byte) (int, error) {
	s.waits = append(s.waits, s.wait)
	if len(s.sends) == 0 {
		return 0, io.EOF
	}
	next := s.sends[0]
	s.sends = s.sends[1:]
	if next == nil {
		return 0, errTimeout
	}
	n := copy(p, next)
	if n < len(next) {
		s.sends = slices.Insert(s.sends, 0, next[n:])
	}
	if s.onRead != nil {
		s.onRead()
	}
	return n, nil
}

func (s *server) Write(p []byte) (bool, error) {
	switch {
	case s.full:
		return false, nil
	case p[0] == 'd':
		if len(p) != 39 || p[5] != 'r' || binary.BigEndian.Uint32(p[1:]) != 38 {
			return false, errors.New("not a status update")
		}
		written, flushed, applied := binary.BigEndian.Uint64(p[6:]), binary.BigEndian.Uint64(p[14:]), binary.BigEndian.Uint64(p[22:])
		if written != flushed || flushed != applied {
			return false, errors.New("the positions differ")
		}
		s.got = append(s.got, flushed)
	case p[0] == 'Q':
		s.sent = append(s.sent, string(p[5:len(p)-1]))
	default:
		s.sent = append(s.sent, string(p[:1]))
	}
	return true, nil
}

func (s *server) Patience(d time.Duration) error { s.wait = d; return nil }

// message frames a body.
func message(kind byte, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

// wal is a message of WAL from start on.
func wal(start uint64, length int) []byte {
	body := binary.BigEndian.AppendUint64([]byte{'w'}, start)
	body = binary.BigEndian.AppendUint64(body, start+uint64(length))
	body = binary.BigEndian.AppendUint64(body, uint64((wallAtStart-epoch)/time.Microsecond))
	return message('d', append(body, make([]byte, length)...)...)
}

func keepalive(end uint64, asks byte) []byte {
	body := binary.BigEndian.AppendUint64([]byte{'k'}, end)
	return message('d', append(binary.BigEndian.AppendUint64(body, 0), asks)...)
}

// identity is the answer to IDENTIFY_SYSTEM.
func identity(timeline, position string) []byte {
	row := []byte{0, 4}
	for _, value := range []string{"7300", timeline, position} {
		row = append(binary.BigEndian.AppendUint32(row, uint32(len(value))), value...)
	}
	row = append(row, 0xff, 0xff, 0xff, 0xff)
	return slices.Concat(message('T', 0, 0), message('D', row...), message('C', []byte("IDENTIFY_SYSTEM\x00")...), message('Z', 'I'))
}

var copyBoth = message('W', 0, 0, 0)

const wallAtStart = epoch + time.Hour

// clocks are what a gate reads.
type clocks struct {
	boot, wall, until, renewed time.Duration
}

// newClocks have 10 s to go.
func newClocks() *clocks {
	return &clocks{boot: 100 * time.Second, wall: wallAtStart, until: 110 * time.Second, renewed: 99 * time.Second}
}

func (c *clocks) pass(d time.Duration) { c.boot, c.wall = c.boot+d, c.wall+d }

func (c *clocks) warden() *warden {
	return newWarden(func() (time.Duration, time.Duration) { return c.until, c.renewed },
		func() time.Duration { return c.boot }, func() time.Duration { return c.wall })
}

// play runs a gate against a server until it has sent everything.
func play(t *testing.T, s *server, c *clocks) guard.GateReport {
	t.Helper()
	page, err := guard.NewPage()
	if err != nil {
		t.Fatal(err)
	}
	if err := newStream(s, c.warden(), page).run(); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v, want the end of what was sent", err)
	}
	return page.Report()
}

func confirmed(t *testing.T, s *server, want ...uint64) {
	t.Helper()
	if !slices.Equal(s.got, want) {
		t.Errorf("confirmed %x, want %x", s.got, want)
	}
}

func TestWhatWaitsAlreadyIsConfirmedAtOnce(t *testing.T) {
	s := &server{sends: [][]byte{identity("3", "16/B374D848"), copyBoth}}
	play(t, s, newClocks())
	if want := []string{"IDENTIFY_SYSTEM", "START_REPLICATION PHYSICAL 16/B374D848 TIMELINE 3"}; !slices.Equal(s.sent, want) {
		t.Errorf("sent %q, want %q", s.sent, want)
	}
	confirmed(t, s, 0x16B374D848)
}

func TestWALIsConfirmedAsItComes(t *testing.T) {
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 0x20), wal(0x1020, 8)}}
	r := play(t, s, newClocks())
	confirmed(t, s, 0x1000, 0x1020, 0x1028)
	if r.Confirmed != 3 || r.Position != 0x1028 || r.Withheld != 0 || r.Streaming {
		t.Errorf("report %+v", r)
	}
}

func TestWhatComesTogetherIsConfirmedOnce(t *testing.T) {
	var many []byte
	for i := range uint64(100) {
		many = append(many, wal(0x1000+i*16, 16)...)
	}
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, many}}
	play(t, s, newClocks())
	confirmed(t, s, 0x1000, 0x1000+1600)
}

// The server sends what it has flushed, so the header of WAL says enough.
func TestWALIsConfirmedBeforeAllOfItHasCome(t *testing.T) {
	long := wal(0x1000, 100_000)
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, long[:20], long[20:40], long[40:60_000], slices.Concat(long[60_000:], wal(0x1000+100_000, 8))}}
	play(t, s, newClocks())
	confirmed(t, s, 0x1000, 0x1000+100_000, 0x1000+100_008)
}

func TestNothingIsConfirmedPastTheDeadline(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*clocks)
	}{
		{"the deadline is now", func(c *clocks) { c.until = c.boot }},
		{"the deadline has passed", func(c *clocks) { c.until = c.boot - time.Second }},
		{"there never was one", func(c *clocks) { c.until = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			clocks := newClocks()
			c.set(clocks)
			s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8), keepalive(0x1008, 1), nil, nil}}
			r := play(t, s, clocks)
			confirmed(t, s)
			if r.Withheld == 0 {
				t.Error("nothing is said to be withheld")
			}
		})
	}
}

// The deadline passes while the gate waits for WAL, or is frozen there.
func TestTheDeadlineIsLookedAtAfterTheWALHasCome(t *testing.T) {
	clocks := newClocks()
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8), nil}}
	s.onRead = func() {
		if len(s.sends) == 1 {
			clocks.pass(time.Minute)
		}
	}
	play(t, s, clocks)
	confirmed(t, s, 0x1000)
}

// A frozen process may thaw anywhere: the clock is the last thing it looks at.
func TestTheClockIsReadLast(t *testing.T) {
	clocks := newClocks()
	w := clocks.warden()
	w.lease = func() (until, renewed time.Duration) {
		defer clocks.pass(time.Minute) // frozen after it has read the deadline
		return clocks.until, clocks.renewed
	}
	if w.open() {
		t.Error("confirmed with a look at the clock from before the deadline was read")
	}
	clocks = newClocks()
	w = clocks.warden()
	wallOf := w.wall
	w.wall = func() time.Duration {
		defer clocks.pass(time.Minute) // frozen between two clocks
		return wallOf()
	}
	if w.open() {
		t.Error("confirmed with a look at the clock that is not the last")
	}
}

func TestARenewalOpensTheGateAgain(t *testing.T) {
	clocks := newClocks()
	clocks.until = clocks.boot
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8), nil, nil}}
	s.onRead = func() {
		if len(s.sends) == 2 {
			clocks.until = clocks.boot + time.Second
		}
	}
	play(t, s, clocks)
	confirmed(t, s, 0x1008, 0x1008, 0x1008)

	clocks, s = newClocks(), &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8), nil, nil}}
	clocks.until = 0
	play(t, s, clocks)
	if last := s.waits[len(s.waits)-1]; last != closedIdle {
		t.Errorf("a closed gate looks again after %v, want %v: commits wait", last, closedIdle)
	}
}

func TestAPauseHasNoDeadline(t *testing.T) {
	clocks := newClocks()
	clocks.until, clocks.renewed = guard.Lifted, 0
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8)}}
	s.onRead = func() { clocks.boot += time.Hour } // the clocks may jump, too
	play(t, s, clocks)
	confirmed(t, s, 0x1000, 0x1008)
}

func TestAServerThatAsksIsAnswered(t *testing.T) {
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, keepalive(0x1000, 0), keepalive(0x1000, 1), keepalive(0x1010, 0)}}
	play(t, s, newClocks())
	confirmed(t, s, 0x1000, 0x1000, 0x1010)
}

// The server takes no notice of the first confirmation if it comes before it has caught
// up, and says nothing of it: it is repeated, soon at first.
func TestAConfirmationIsRepeated(t *testing.T) {
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil}}
	play(t, s, newClocks())
	if len(s.got) != 12 {
		t.Errorf("%d confirmations, want one at once and one for each wait", len(s.got))
	}
	if first, last := s.waits[1], s.waits[len(s.waits)-1]; first != firstIdle || last != idle {
		t.Errorf("waits from %v to %v, want %v to %v", first, last, firstIdle, idle)
	}
}

func TestAConfirmationThatFoundNoRoomIsRepeated(t *testing.T) {
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8), nil}}
	s.onRead = func() { s.full = len(s.sends) == 1 }
	s.sends = append(s.sends, copyBoth) // anything: it ends what has no room
	play(t, s, newClocks())
	if n := len(s.got); n == 0 || s.got[n-1] != 0x1008 {
		t.Errorf("confirmed %x, want 1008 last", s.got)
	}
}

func TestATimelineThatEndsIsFollowed(t *testing.T) {
	s := &server{sends: [][]byte{identity("1", "0/1000"), slices.Concat(copyBoth, wal(0x1000, 8), message('c')),
		slices.Concat(message('T', 0, 0), message('C', []byte("x\x00")...), message('Z', 'I')), identity("2", "0/1010"), copyBoth, wal(0x1010, 8)}}
	play(t, s, newClocks())
	if got := strings.Join(s.sent, ";"); got != "IDENTIFY_SYSTEM;START_REPLICATION PHYSICAL 0/1000 TIMELINE 1;c;IDENTIFY_SYSTEM;START_REPLICATION PHYSICAL 0/1010 TIMELINE 2" {
		t.Errorf("sent %s", got)
	}
	confirmed(t, s, 0x1000, 0x1008, 0x1010, 0x1018)
}

func TestWhatTheServerComplainsOfEndsTheStream(t *testing.T) {
	complaint := message('E', []byte("SFATAL\x00C57P01\x00Mterminating\x00\x00")...)
	page, err := guard.NewPage()
	if err != nil {
		t.Fatal(err)
	}
	for _, sends := range [][][]byte{{complaint}, {identity("1", "0/1000"), copyBoth, complaint}} {
		err := newStream(&server{sends: sends}, newClocks().warden(), page).run()
		if err == nil || !strings.Contains(err.Error(), "terminating (57P01)") {
			t.Errorf("the stream ended with %v", err)
		}
	}
	for name, bad := range map[string][]byte{
		"length": {'d', 0, 0, 0, 1}, "kind": message('d', 'x'), "wal": message('d', 'w', 1), "longest": {'D', 0xff, 0xff, 0xff, 0xff, 0},
		"row": message('D', 0), "place": identity("1", "nowhere"),
	} {
		if err := newStream(&server{sends: [][]byte{bad, bad, nil}}, newClocks().warden(), page).run(); !errors.Is(err, errProtocol) && name != "wal" {
			t.Errorf("%s: the stream ended with %v", name, err)
		}
	}
}

func TestAfterAJumpOfTheClocksARenewalIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name string
		move func(*clocks)
	}{
		{"the machine stood still, and its wall clock was set", func(c *clocks) { c.wall += 20 * time.Second }},
		{"the wall clock was set back", func(c *clocks) { c.wall -= time.Second }},
	} {
		t.Run(c.name, func(t *testing.T) {
			clocks := newClocks()
			w := clocks.warden()
			if !w.open() {
				t.Fatal("closed before the jump")
			}
			c.move(clocks)
			for range 3 {
				if w.open() {
					t.Fatal("open after the jump on a lease from before it")
				}
				clocks.pass(100 * time.Millisecond)
			}
			clocks.renewed = clocks.boot // sent after the jump
			clocks.pass(10 * time.Millisecond)
			if !w.open() {
				t.Error("closed after a renewal that was sent after the jump")
			}
		})
	}
}

func TestClocksThatAreSlewedDoNotJump(t *testing.T) {
	clocks := newClocks()
	w := clocks.warden()
	clocks.until = clocks.boot + time.Hour
	for range 1000 {
		clocks.pass(time.Second)
		clocks.wall += 500 * time.Microsecond
		if !w.open() {
			t.Fatal("closed by a clock that is slewed")
		}
	}
}

func TestTheDelayOfAConfirmationIsMeasured(t *testing.T) {
	clocks := newClocks()
	s := &server{sends: [][]byte{identity("1", "0/1000"), copyBoth, wal(0x1000, 8)}}
	s.onRead = func() { clocks.pass(time.Millisecond) }
	if r := play(t, s, clocks); r.DelaySum != 3*time.Millisecond { // three reads
		t.Errorf("delay %v, want 3 ms", r.DelaySum)
	}
}

// FuzzParse: whatever comes, in whatever pieces, ends in an error or in a position that
// never goes back.
func FuzzParse(f *testing.F) {
	f.Add(slices.Concat(identity("1", "0/1000"), copyBoth, wal(0x1000, 50), keepalive(0x1100, 1), message('c')), uint8(7))
	f.Add([]byte{'d', 0xff, 0xff, 0xff, 0xff, 'w'}, uint8(1))
	f.Add(message('E', 'C'), uint8(3))
	page, err := guard.NewPage()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte, piece uint8) {
		s := newStream(&server{}, newClocks().warden(), page)
		s.buf = make([]byte, 2*longest)
		for len(content) > 0 {
			n := copy(s.buf[s.have:], content[:min(len(content), int(piece)+1)])
			if n == 0 {
				t.Fatal("the buffer is full of nothing that can be parsed")
			}
			content, s.have = content[n:], s.have+n
			before := s.position
			if s.parse() != nil {
				return
			}
			if s.position < before {
				t.Fatalf("position went back from %x to %x", before, s.position)
			}
		}
	})
}
