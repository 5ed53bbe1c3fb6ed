package guard

import (
	"bufio"
	"errors"
	"fmt"
	"net"
)

// maxPeers bounds connections; a node has one worker and now and then an observer.
const maxPeers = 32

// outbox is how many lines may wait for a peer that does not read. A frozen
// worker must not hold up the loop: beyond this it is disconnected.
const outbox = 64

// conn is one peer. Its two goroutines only move lines.
type conn struct {
	net     net.Conn
	out     chan []byte
	session uint64 // 0 before hello
	pid     int
	deliver func(any) // of a Model, which has no socket: takes what others get as a line
}

// message is one line of a peer, or its end.
type message struct {
	from *conn
	req  request
	err  error // a line that cannot be read; the request's id may be set
	gone bool
}

// serve hands a connection to the loop and moves its lines until it ends.
func (k *keeper) serve(c net.Conn, pid int, done <-chan struct{}) {
	p := &conn{net: c, out: make(chan []byte, outbox), pid: pid}
	select {
	case k.accepts <- p:
	case <-done:
		_ = c.Close()
		return
	}
	p.read(func(m message) bool {
		select {
		case k.inbox <- m:
			return true
		case <-done:
			return false
		}
	})
}

func (k *keeper) accept(c *conn) {
	if len(k.conns) >= maxPeers {
		k.log.Warn("too many peers, connection refused", "pid", c.pid)
		_ = c.net.Close() // the peer is told by the end of file
		return
	}
	k.conns[c] = struct{}{}
	k.writers.Go(c.write)
}

// write ends the connection when the loop has closed the outbox.
func (c *conn) write() {
	for line := range c.out {
		if _, err := c.net.Write(line); err != nil {
			break
		}
	}
	_ = c.net.Close() // the peer is told by the end of file
}

func (c *conn) read(deliver func(message) bool) {
	lines := bufio.NewScanner(c.net)
	lines.Buffer(make([]byte, 0, 2048), maxLine)
	for lines.Scan() {
		req, err := decodeRequest(lines.Bytes())
		if !deliver(message{from: c, req: req, err: err}) {
			return
		}
	}
	m := message{from: c, gone: true}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		m.err = fmt.Errorf("%w: line is longer than %d bytes", ErrBadRequest, maxLine)
	}
	deliver(m)
}

// send never waits. A peer that lets its outbox fill is dropped.
func (k *keeper) send(c *conn, v any) {
	if _, ok := k.conns[c]; !ok {
		return
	}
	if c.deliver != nil {
		c.deliver(v)
		return
	}
	select {
	case c.out <- encodeLine(v):
	default:
		k.log.Warn("peer does not read, disconnected", "pid", c.pid)
		k.drop(c)
		_ = c.net.Close()
	}
}

// push sends an event to the worker.
func (k *keeper) push(e Event) {
	if k.worker != nil {
		k.send(k.worker, e)
	}
}

func (k *keeper) drop(c *conn) {
	if _, ok := k.conns[c]; !ok {
		return
	}
	delete(k.conns, c)
	if c.out != nil {
		close(c.out)
	}
	if k.worker == c {
		k.worker = nil
		k.log.Info("worker disconnected", "pid", c.pid, "session", c.session)
	}
}

// receive answers one message.
func (k *keeper) receive(m message) {
	c := m.from
	if _, ok := k.conns[c]; !ok {
		return // superseded: what it still sends counts for nothing
	}
	if m.err != nil {
		k.send(c, reply{ID: m.req.ID, Error: remote(m.err)})
	}
	switch {
	case m.gone:
		k.drop(c)
	case m.err == nil:
		k.handle(c, m.req)
	}
}

// hello makes a peer the worker. An older one is told so and disconnected.
func (k *keeper) hello(c *conn, r request) error {
	if r.V < 1 {
		return fmt.Errorf("%w: hello with protocol version %d", ErrBadRequest, r.V)
	}
	if c.session != 0 {
		return fmt.Errorf("%w: second hello on one connection", ErrBadRequest)
	}
	if err := k.lease.enter(r.Session); err != nil {
		return err
	}
	// guard: newer-session-supersedes — SAFETY 2 "one session at a time".
	if old := k.worker; old != nil {
		k.log.Warn("worker superseded", "pid", old.pid, "session", old.session)
		k.send(old, Event{Kind: superseded, At: k.clock.Now()})
		k.drop(old)
	}
	c.session = r.Session
	if r.WorkerPID > 0 {
		c.pid = r.WorkerPID
	}
	k.worker = c
	k.log.Info("worker connected", "pid", c.pid, "session", c.session, "version", r.Version)
	return nil
}
