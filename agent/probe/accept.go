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

// authentication begins the server's answer to whoever it does not refuse at once.
const authentication = 'R'

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
	var word [1]byte
	if _, err := conn.Read(word[:]); err != nil {
		return 0, refused(err)
	}
	_, _ = conn.Write([]byte{'X', 0, 0, 0, 4}) // so that the server does not find the client gone
	return word[0], finding{}
}

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
