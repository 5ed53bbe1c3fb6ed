package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// state is what a connection waits for.
type state int

const (
	connecting state = iota
	idle
	asking
)

// conn is one connection and the request on it.
type conn struct {
	fd    int
	state state
	// due is when the request on it should have been sent; zero without one.
	due time.Time
	in  []byte
}

// dial begins a connection; it is there when the socket can be written to.
func (g *generator) dial(c *conn) error {
	if c.fd >= 0 {
		delete(g.byFD, int32(c.fd))
		_ = unix.Close(c.fd)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	c.fd, c.state, c.in = fd, connecting, c.in[:0]
	g.byFD[int32(fd)] = c
	if err := unix.Connect(fd, g.to); err != nil && err != unix.EINPROGRESS { //nolint:errorlint // an errno
		return fmt.Errorf("connect: %w", err)
	}
	return g.listenFor(fd, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
}

// ready goes on with a connection that something happened on.
func (g *generator) ready(c *conn, events uint32) error {
	if c.state == connecting {
		return g.connected(c)
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		return g.receive(c)
	}
	return nil
}

func (g *generator) connected(c *conn) error {
	if code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		g.errors++
		return g.dial(c)
	}
	if err := g.listenFor(c.fd, unix.EPOLL_CTL_MOD, unix.EPOLLIN); err != nil {
		return err
	}
	c.state = idle
	if !c.due.IsZero() { // it was asked while the server had closed
		g.send(c, c.due)
	}
	return nil
}

// send asks. A request is far smaller than a socket's buffer: it goes whole or the connection is gone, and then the
// answer's absence shows at once.
func (g *generator) send(c *conn, due time.Time) {
	c.due, c.state = due, asking
	_, _ = unix.Write(c.fd, g.request)
}

// receive reads what is there and counts a whole answer.
func (g *generator) receive(c *conn) error {
	var buffer [4096]byte
	n, err := unix.Read(c.fd, buffer[:])
	if err == unix.EAGAIN { //nolint:errorlint // an errno
		return nil
	}
	if n > 0 {
		c.in = append(c.in, buffer[:n]...)
		if status, length, closes, ok := answer(c.in); ok && len(c.in) >= length && c.state == asking {
			g.count(c, status)
			c.in = c.in[:0]
			if !closes {
				return nil
			}
			g.reconnects++
			return g.dial(c)
		}
		return nil
	}
	g.reconnects++
	if c.state == asking && len(c.in) > 0 {
		if status, ok := statusOf(c.in); ok { // an answer without a length ends with the connection
			g.count(c, status)
		} else {
			g.errors++
			c.due = time.Time{}
		}
	}
	return g.dial(c)
}

func (g *generator) count(c *conn, status int) {
	g.times = append(g.times, time.Since(c.due))
	g.status[status]++
	c.due, c.state = time.Time{}, idle
}

// answer reads a response's head: its status, its whole length, and whether the connection ends with it. ok is false
// while the head is not complete or says no length.
func answer(in []byte) (status, length int, closes, ok bool) {
	head, _, complete := bytes.Cut(in, []byte("\r\n\r\n"))
	if !complete {
		return 0, 0, false, false
	}
	status, ok = statusOf(in)
	if !ok {
		return 0, 0, false, false
	}
	closes = bytes.HasPrefix(head, []byte("HTTP/1.0"))
	body := -1
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.Atoi(string(value))
			if err != nil {
				return 0, 0, false, false
			}
			body = n
		case bytes.EqualFold(name, []byte("Connection")):
			closes = bytes.EqualFold(value, []byte("close")) || closes && !bytes.EqualFold(value, []byte("keep-alive"))
		}
	}
	return status, len(head) + 4 + body, closes, body >= 0
}

// statusOf reads a status line's code.
func statusOf(in []byte) (int, bool) {
	if len(in) < len("HTTP/1.1 200") || !bytes.HasPrefix(in, []byte("HTTP/1.")) {
		return 0, false
	}
	code, err := strconv.Atoi(string(in[9:12]))
	return code, err == nil
}
