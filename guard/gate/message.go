package gate

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Lengths of what is looked at, the message's own header of 5 bytes included.
const (
	header     = 5
	walHeader  = header + 1 + 8 + 8 + 8 // 'w', start, end, clock
	keepHeader = header + 1 + 8 + 8 + 1 // 'k', end, clock, answer wanted
)

// parse takes the messages out of the buffer. Of WAL it looks at the header alone: the
// server sends only what it has flushed, so the rest need not have come.
func (s *stream) parse() error {
	rest := s.buf[:s.have]
	for {
		drop := min(s.skip, len(rest))
		rest, s.skip = rest[drop:], s.skip-drop
		if len(rest) < header {
			break
		}
		length := int(binary.BigEndian.Uint32(rest[1:])) + 1
		switch {
		case length < header:
			return fmt.Errorf("%w: a message of %d bytes", errProtocol, length)
		case length > header && len(rest) == header:
			s.have = copy(s.buf, rest)
			return nil
		}
		if length > header && rest[0] == 'd' && rest[header] == 'w' {
			if len(rest) < walHeader {
				break
			}
			if err := s.wal(rest, length); err != nil {
				return err
			}
			s.skip = length
			continue
		}
		if length > longest {
			return fmt.Errorf("%w: a message %q of %d bytes", errProtocol, rest[0], length)
		}
		if len(rest) < length {
			break
		}
		if err := s.message(rest[0], rest[header:length]); err != nil {
			return err
		}
		rest = rest[length:]
	}
	s.have = copy(s.buf, rest)
	return nil
}

// wal notes how far a message of WAL reaches.
func (s *stream) wal(m []byte, length int) error {
	if length < walHeader {
		return fmt.Errorf("%w: WAL in %d bytes", errProtocol, length)
	}
	s.position = max(s.position, binary.BigEndian.Uint64(m[header+1:])+uint64(length-walHeader))
	s.sent = int64(binary.BigEndian.Uint64(m[header+17:]))
	return nil
}

// message takes a whole message that is no WAL.
func (s *stream) message(kind byte, body []byte) error {
	switch kind {
	case 'd':
		if len(body) != keepHeader-header || body[0] != 'k' {
			return fmt.Errorf("%w: unknown message in the stream", errProtocol)
		}
		s.position = max(s.position, binary.BigEndian.Uint64(body[1:]))
		s.asked = s.asked || body[17] != 0
	case 'c':
		s.ended = true
	case 'Z':
		s.ready = true
	case 'D':
		var row pgproto3.DataRow
		if err := row.Decode(append([]byte(nil), body...)); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		s.row = row.Values
	case 'E':
		var e pgproto3.ErrorResponse
		if err := e.Decode(body); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		s.failed = fmt.Errorf("server said: %s (%s)", e.Message, e.Code)
	}
	return nil
}
