package gate

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a wire on a descriptor of its own, which blocks in the kernel.
type socket struct {
	fd       int
	patience time.Duration
}

// newSocket takes a connection over and closes it.
func newSocket(conn net.Conn) (*socket, error) {
	defer conn.Close() // the descriptor below is one of its own
	known, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("connection to the server is a %T", conn)
	}
	raw, err := known.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1}
	var failed error
	err = raw.Control(func(fd uintptr) { s.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(err, failed); err == nil {
		err = unix.SetNonblock(s.fd, false)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	return s, nil
}

// Patience costs a system call only when it changes.
func (s *socket) Patience(d time.Duration) error {
	if d == s.patience {
		return nil
	}
	limit := unix.NsecToTimeval(d.Nanoseconds())
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return fmt.Errorf("set how long to wait for the server: %w", err)
	}
	s.patience = d
	return nil
}

func (s *socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, p)
		switch {
		case errors.Is(err, unix.EINTR): // Go's runtime signals its own threads
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, errTimeout
		case err != nil:
			return 0, fmt.Errorf("read from the server: %w", err)
		case n == 0:
			return 0, fmt.Errorf("read from the server: %w", io.EOF)
		}
		return n, nil
	}
}

// Write hands the kernel all or nothing: what is written here is far shorter than what
// a socket takes in one piece.
func (s *socket) Write(p []byte) (bool, error) {
	for {
		err := unix.Send(s.fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("write to the server: %w", err)
		}
		return true, nil
	}
}

func (s *socket) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
	}
}
