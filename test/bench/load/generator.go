package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// generator is one thread, its connections and its clock.
type generator struct {
	to      *unix.SockaddrInet4
	request []byte
	rate    float64
	epoll   int
	timer   int
	conns   []*conn
	byFD    map[int32]*conn

	begin  time.Time // of the schedule
	next   int       // the request that is due next, of an open loop
	times  []time.Duration
	status map[int]int
	errors int

	reconnects int
}

func newGenerator(to netip.AddrPort, path string, conns int, rate float64) (*generator, error) {
	g := &generator{
		to:      &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())},
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive\r\n\r\n", path, to),
		rate:    rate, byFD: map[int32]*conn{}, status: map[int]int{},
	}
	var err error
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	if err := g.listenFor(g.timer, unix.EPOLL_CTL_ADD, unix.EPOLLIN); err != nil {
		return nil, err
	}
	for range conns {
		c := &conn{fd: -1}
		if err := g.dial(c); err != nil {
			return nil, err
		}
		g.conns = append(g.conns, c)
	}
	return g, nil
}

func (g *generator) listenFor(fd, op int, events uint32) error {
	return unix.EpollCtl(g.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (g *generator) close() {
	for _, c := range g.conns {
		if c.fd >= 0 {
			_ = unix.Close(c.fd)
		}
	}
	_ = unix.Close(g.timer)
	_ = unix.Close(g.epoll)
}

// reset forgets what the warm-up counted.
func (g *generator) reset() {
	g.times, g.status, g.errors, g.reconnects = make([]time.Duration, 0, 1<<20), map[int]int{}, 0, 0
}

// run drives the connections for so long.
func (g *generator) run(length time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.begin, g.next = time.Now(), 0
	end := g.begin.Add(length)
	events := make([]unix.EpollEvent, 64)
	for {
		now := time.Now()
		if now.After(end) {
			return nil
		}
		g.offer(now)
		if err := g.arm(now, end); err != nil {
			return err
		}
		n, err := unix.EpollWait(g.epoll, events, -1)
		if err == unix.EINTR { //nolint:errorlint // an errno
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, e := range events[:n] {
			if c := g.byFD[e.Fd]; c != nil {
				if err := g.ready(c, e.Events); err != nil {
					return err
				}
			} else {
				var ticks [8]byte
				_, _ = unix.Read(g.timer, ticks[:]) // only empties it
			}
		}
	}
}

// due is when request k is.
func (g *generator) due(k int) time.Time {
	return g.begin.Add(time.Duration(float64(k) / g.rate * float64(time.Second)))
}

// offer gives idle connections what is due. In a closed loop that is always something.
func (g *generator) offer(now time.Time) {
	for _, c := range g.conns {
		if c.state != idle {
			continue
		}
		if g.rate == 0 {
			g.send(c, now)
			continue
		}
		due := g.due(g.next)
		if due.After(now) {
			return
		}
		g.next++
		g.send(c, due)
	}
}

// arm wakes the loop when the next request is due and a connection is free for it, and at the end.
func (g *generator) arm(now, end time.Time) error {
	at := end
	if g.rate > 0 {
		for _, c := range g.conns {
			if c.state == idle {
				if due := g.due(g.next); due.Before(at) {
					at = due
				}
				break
			}
		}
	}
	wait := max(at.Sub(now), time.Nanosecond)
	return unix.TimerfdSettime(g.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(wait.Nanoseconds())}, nil)
}
