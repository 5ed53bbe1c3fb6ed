package testbed

import (
	"context"
	"net"
	"sync"
	"time"
)

// relay is a TCP path that can be broken in two ways.
type relay struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	cut    bool          // refuse and close
	thaw   chan struct{} // not nil while frozen: closed by the thaw
	conns  map[net.Conn]bool
	closed bool
}

func newRelay(target string) (*relay, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, target: target, conns: map[net.Conn]bool{}}
	go r.accept()
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.carry(c)
	}
}

func (r *relay) carry(near net.Conn) {
	if !r.track(near) {
		return
	}
	defer r.drop(near)
	if !r.pass() {
		return
	}
	far, err := (&net.Dialer{Timeout: 2 * time.Second}).Dial("tcp", r.target) //nolint:noctx // bounded
	if err != nil || !r.track(far) {
		return
	}
	defer r.drop(far)
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			r.copy(way[1], way[0])
			ended <- struct{}{}
		}()
	}
	<-ended
}

// copy carries bytes one way, and holds them while the path is frozen.
func (r *relay) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !r.pass() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the path is frozen; false when it is cut.
func (r *relay) pass() bool {
	for {
		r.mu.Lock()
		cut, thaw := r.cut || r.closed, r.thaw
		r.mu.Unlock()
		if cut || thaw == nil {
			return !cut
		}
		<-thaw
	}
}

func (r *relay) track(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut || r.closed {
		_ = c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	_ = c.Close()
}

// set breaks the path or heals it. A healed path starts with new connections.
func (r *relay) set(cut, frozen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if r.thaw != nil && !frozen {
		close(r.thaw)
		r.thaw = nil
	}
	if frozen && r.thaw == nil {
		r.thaw = make(chan struct{})
	}
	if cut {
		r.closeAll()
	}
}

func (r *relay) closeAll() {
	for c := range r.conns {
		_ = c.Close()
	}
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.thaw != nil {
		close(r.thaw)
		r.thaw = nil
	}
	_ = r.listener.Close()
	r.closeAll()
}
