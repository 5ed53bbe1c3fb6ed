//go:build unix

package pgrw

import (
	"net"
	"syscall"
)

// disturbed reports whether something waits to be read from an idle connection, or its
// end: a server that shut down, or ended this session, said so long ago. It costs one
// system call; a statement that is sent to such a session is one whose fate nobody knows.
func disturbed(conn net.Conn) bool {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	descriptor, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	found := false
	// Not descriptor.Read, which waits for readers: pgx leaves one behind after a slow write.
	err = descriptor.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		found = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return found || err != nil
}
