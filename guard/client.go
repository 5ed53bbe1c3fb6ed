package guard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// eventBuffer is how many events may wait for the worker. They are rare; a worker
// that lets them pile up is disconnected, never misled by a lost one.
const eventBuffer = 256

// Client is the worker's end of the socket. Its methods may be called from any
// goroutine. Every call ends with its context: a frozen guard is noticed by that.
type Client struct {
	conn    net.Conn
	session uint64
	guard   int          // pid of the guard, from the kernel
	pidfd   *os.File     // of the guard; nil where there is none
	heard   atomic.Int64 // when it answered last

	writing sync.Mutex
	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]chan reply
	err     error // why the connection ended
	events  chan Event
	closed  chan struct{}

	carry func(context.Context, request) (reply, error) // of a Model, which has no socket
}

// Peek asks for the status without becoming the worker.
func Peek(ctx context.Context, socketPath string) (Status, error) {
	c, err := Connect(ctx, socketPath)
	if err != nil {
		return Status{}, err
	}
	defer c.Close()
	return c.Status(ctx)
}

// Connect reaches the guard's process, which need not answer: PeerPID is known, and
// nothing else works before Hello.
func Connect(ctx context.Context, socketPath string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath)
	if err != nil {
		return nil, fmt.Errorf("connect to the guard: %w", err)
	}
	c := newClient(conn)
	if u, ok := conn.(*net.UnixConn); ok {
		cred, err := peer(u)
		if err != nil || !trusted(cred.Uid) {
			_ = c.Close()
			return nil, fmt.Errorf("%w: %s is not served by this user: %w", ErrFailed, socketPath, errors.Join(err, os.ErrPermission))
		}
		c.guard = int(cred.Pid)
	}
	if c.guard > 1 { // else it is not seen from here
		fd, err := unix.PidfdOpen(c.guard, 0)
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("connect to the guard: open its pidfd: %w", err)
		}
		c.pidfd = os.NewFile(uintptr(fd), "pidfd of the guard")
	}
	return c, nil
}

func newClient(conn net.Conn) *Client {
	c := &Client{
		conn: conn, pending: map[uint64]chan reply{},
		events: make(chan Event, eventBuffer), closed: make(chan struct{}),
	}
	go c.read()
	return c
}

// Hello makes this connection the worker's, under a session number, which must be
// higher than that of every worker before it; the one connected now is superseded.
func (c *Client) Hello(ctx context.Context, session uint64, version string) (Status, error) {
	c.session = session
	r, err := c.call(ctx, request{Op: "hello", V: ProtocolVersion, WorkerPID: os.Getpid(), Version: version})
	if err != nil {
		return Status{}, err
	}
	if r.Status == nil {
		return Status{}, fmt.Errorf("%w: hello was answered without a status", ErrFailed)
	}
	return *r.Status, nil
}

// Events delivers what the guard reports, in order. It is closed when the
// connection ends; Err then says why.
func (c *Client) Events() <-chan Event { return c.events }

// Err returns why the connection ended: ErrSuperseded, ErrDisconnected, or nil
// while it is up.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// PeerPID is the pid of the guard, as the kernel knows it.
func (c *Client) PeerPID() int { return c.guard }

// KillPeer sends SIGKILL to the guard's process, and to no other that has its number by
// now. One that is gone needs none.
func (c *Client) KillPeer() error {
	if c.pidfd == nil {
		return fmt.Errorf("%w: its process is not known", ErrFailed)
	}
	raw, err := c.pidfd.SyscallConn() // which a Close waits for
	if err != nil {
		return err
	}
	sent := raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if errors.Is(err, unix.ESRCH) {
		err = nil
	}
	return errors.Join(sent, err)
}

// Heard is when the guard answered a call last, on CLOCK_BOOTTIME; 0 for never.
func (c *Client) Heard() time.Duration { return time.Duration(c.heard.Load()) }

// Session is the number this worker presented.
func (c *Client) Session() uint64 { return c.session }

// Close hangs up. The server and its deadline are not touched.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.closed
	_ = c.pidfd.Close() // nil has nothing to close
	return err
}

func (c *Client) read() {
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(make([]byte, 0, 2048), maxLine)
	cause := ErrDisconnected
	for lines.Scan() {
		if err := c.take(lines.Bytes()); err != nil {
			cause = err
			break
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, net.ErrClosed) {
		cause = fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	_ = c.conn.Close() // after an error nothing on it can be trusted
	c.mu.Lock()
	c.err = cause
	c.mu.Unlock()
	close(c.events)
	close(c.closed)
}

// take sorts one line: the answer to a call, or an event.
func (c *Client) take(line []byte) error {
	var m struct {
		Event Kind `json:"event"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return fmt.Errorf("%w: guard sent no JSON object: %w", ErrDisconnected, err)
	}
	if m.Event == "" {
		return c.takeReply(line)
	}
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%w: unreadable event: %w", ErrDisconnected, err)
	}
	if e.Kind == superseded {
		return ErrSuperseded
	}
	select {
	case c.events <- e:
		return nil
	default:
		return fmt.Errorf("%w: %d events were not read", ErrDisconnected, eventBuffer)
	}
}

func (c *Client) takeReply(line []byte) error {
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("%w: unreadable reply: %w", ErrDisconnected, err)
	}
	c.heard.Store(int64(Now()))
	c.mu.Lock()
	wait := c.pending[r.ID]
	delete(c.pending, r.ID)
	c.mu.Unlock()
	if wait != nil { // nil: its caller gave up
		wait <- r
	}
	return nil
}

// call sends a request and waits for its answer, as long as ctx allows.
func (c *Client) call(ctx context.Context, r request) (reply, error) {
	if r.Session == 0 {
		r.Session = c.session
	}
	if c.carry != nil {
		got, err := c.carry(ctx, r)
		if err != nil {
			return reply{}, fmt.Errorf("guard %s: %w", r.Op, err)
		}
		return answered(r, got)
	}
	wait := make(chan reply, 1)
	c.mu.Lock()
	c.nextID++
	r.ID = c.nextID
	c.pending[r.ID] = wait
	c.mu.Unlock()
	defer c.forget(r.ID)
	if err := c.write(ctx, encodeLine(r)); err != nil {
		return reply{}, fmt.Errorf("guard %s: %w", r.Op, err)
	}
	select {
	case got := <-wait:
		return answered(r, got)
	case <-ctx.Done():
		return reply{}, fmt.Errorf("guard %s: no answer: %w", r.Op, context.Cause(ctx))
	case <-c.closed:
	}
	select {
	case got := <-wait: // answered, then closed
		return answered(r, got)
	default:
		return reply{}, fmt.Errorf("guard %s: %w", r.Op, c.Err())
	}
}

func answered(r request, got reply) (reply, error) {
	if got.Error != nil {
		return got, fmt.Errorf("%s: %w", r.Op, got.Error)
	}
	return got, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
}

// write gives up with ctx. Half a line would garble what follows, so a write that
// failed ends the connection.
func (c *Client) write(ctx context.Context, line []byte) error {
	if len(line) > maxLine {
		return fmt.Errorf("%w: message of %d bytes, at most %d", ErrBadRequest, len(line), maxLine)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	spoilt := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(spoilt)
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0)) // in the past: ends the write
	})
	_, err := c.conn.Write(line)
	if !stop() {
		<-spoilt
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	_ = c.conn.Close() // read says why
	<-c.closed
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.Err()
}
