package probe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// protocol is version 3.0 of PostgreSQL's.
const protocol = 3 << 16

// What the server's messages begin with that a knock looks at: how to authenticate, which
// it asks whomever it does not refuse at once, and that it waits for a query.
const (
	authentication = 'R'
	readyForQuery  = 'Z'
)

// accept opens a connection and waits for the server's first word; any word will do, a
// refusal too: that it starts, has no connection left or does not know the user is not
// for this check to judge. Where nobody listens there is no server, which others know.
// If it refuses nobody, it must answer a query as well.
func (a *asker) accept(ctx context.Context) finding {
	word, f := a.spec.knock(ctx)
	if word != authentication {
		return f
	}
	return a.ask(ctx)
}

// knock gives the first byte that a new connection hears.
func (s Spec) knock(ctx context.Context) (byte, finding) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", s.SocketDir+"/.s.PGSQL."+s.Port)
	if err != nil {
		return 0, refused(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write(s.startup()); err != nil {
		return 0, refused(err)
	}
	from := bufio.NewReaderSize(conn, 512)
	word, asked, err := message(from)
	if err != nil {
		return 0, refused(err)
	}
	if word == authentication && len(asked) >= 4 && binary.BigEndian.Uint32(asked) == 0 { // it trusts us, and we are in: leave as one does
		for next := word; next != readyForQuery; {
			if next, _, err = message(from); err != nil {
				return word, refused(err)
			}
		}
		_, _ = conn.Write([]byte{'X', 0, 0, 0, 4})
	}
	return word, finding{} // whoever hangs up when asked for a password leaves no line in the server's log
}

// message reads one of the server's: its first byte, and what it says.
func message(from io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[1:])) - 4
	if size < 0 || size > longest {
		return head[0], nil, nil
	}
	body = make([]byte, size)
	_, err = io.ReadFull(from, body)
	return head[0], body, err
}

// longest bounds what is read of one message.
const longest = 64 << 10

// refused tells silence from an answer.
func refused(err error) finding {
	switch {
	case silence(err):
		return finding{ailment: cluster.AilmentHung, detail: "a new connection gets no answer"}
	case errors.Is(err, syscall.EAGAIN): // nobody takes connections out of the socket's queue
		return finding{ailment: cluster.AilmentHung, detail: "the server's socket takes no more connections"}
	}
	return finding{} // nobody listens, or it hung up, which is an answer
}

// silence is an error that says that time ran out.
func silence(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// startup is the message a client begins with.
func (s Spec) startup() []byte {
	message := make([]byte, 8, 128)
	binary.BigEndian.PutUint32(message[4:], protocol)
	for _, text := range []string{"user", s.User, "database", s.Database, "application_name", "pgkeeper probe"} {
		message = append(append(message, text...), 0)
	}
	message = append(message, 0)
	binary.BigEndian.PutUint32(message, uint32(len(message)))
	return message
}
