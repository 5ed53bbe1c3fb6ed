package agent

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// senders hears from the kernel when a walsender ends: the next look would tell a
// moment later, in which every commit that waits for its standby hangs.
type senders struct {
	gone func() // called for each that has ended

	mu      sync.Mutex
	watched map[int]*os.File // by process id
}

func newSenders(gone func()) *senders {
	return &senders{gone: gone, watched: map[int]*os.File{}}
}

// watch takes what a look has found: these and no others are watched from now on. A
// kernel that cannot (before Linux 5.10) leaves it to the looks.
func (s *senders) watch(now []cluster.Walsender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[int]bool, len(now))
	for i := range now {
		pid := now[i].PID
		there[pid] = true
		if s.watched[pid] != nil || pid <= 0 {
			continue
		}
		if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
			f := os.NewFile(uintptr(fd), "walsender")
			s.watched[pid] = f
			go s.await(pid, f)
		}
	}
	for pid, f := range s.watched {
		if !there[pid] {
			delete(s.watched, pid)
			_ = f.Close() // ends its wait
		}
	}
}

// await waits for the end of a process, or of the watch over it.
func (s *senders) await(pid int, f *os.File) {
	ended := false
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Read(func(fd uintptr) bool { // an error is the end of the watch
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			ended = err == nil && n > 0
			return ended
		})
	}
	if !ended {
		return
	}
	s.mu.Lock()
	if s.watched[pid] == f {
		delete(s.watched, pid)
	}
	s.mu.Unlock()
	_ = f.Close()
	s.gone()
}
