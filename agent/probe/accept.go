package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// protocol is version 3.0 of PostgreSQL's.
const protocol = 3 << 16

// accept opens a connection and waits for the server's first word. Any word will do, a
// refusal too: that it starts, has no connection left or does not know the user is not
// for this check to judge. Where nobody listens there is no server, which others know.
func (s Spec) accept(ctx context.Context) finding {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", s.SocketDir+"/.s.PGSQL."+s.Port)
	if err != nil {
		return refused(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write(s.startup()); err != nil {
		return refused(err)
	}
	var word [1]byte
	if _, err := conn.Read(word[:]); err != nil {
		return refused(err)
	}
	_, _ = conn.Write([]byte{'X', 0, 0, 0, 4}) // so that the server does not find the client gone
	return finding{}
}

// refused tells silence from an answer.
func refused(err error) finding {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return finding{ailment: cluster.AilmentHung, detail: "a new connection gets no answer"}
	case errors.Is(err, syscall.EAGAIN): // nobody takes connections out of the socket's queue
		return finding{ailment: cluster.AilmentHung, detail: "the server's socket takes no more connections"}
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return finding{}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return finding{ailment: cluster.AilmentHung, detail: "a new connection gets no answer"}
	}
	return finding{} // it hung up, which is an answer
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
