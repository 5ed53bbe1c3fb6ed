//go:build integration

package pgrw

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// cutter is a way to a server that ends a session around a message of the client's.
type cutter struct {
	listener net.Listener
	server   string
	// word is looked for in what the client sends; nil while sessions pass.
	word atomic.Pointer[string]
	// forward sends the message on before the session ends.
	forward atomic.Bool
	cuts    atomic.Int64
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, server: server}
	t.Cleanup(func() { _ = l.Close() })
	go c.accept()
	return c
}

// arm has the next message with the word be the last of its session.
func (c *cutter) arm(word string, forward bool) {
	c.forward.Store(forward)
	c.word.Store(&word)
}

func (c *cutter) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.server) //nolint:noctx // the loopback address
		if err != nil {
			_ = near.Close()
			continue
		}
		go func() {
			_, _ = io.Copy(near, far)
			_ = near.Close()
		}()
		go c.carry(near, far)
	}
}

// carry takes the client's bytes to the server.
func (c *cutter) carry(near, far net.Conn) {
	defer near.Close()
	defer far.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := near.Read(buffer)
		if err != nil {
			return
		}
		word := c.word.Load()
		cut := word != nil && bytes.Contains(buffer[:n], []byte(*word)) && c.word.CompareAndSwap(word, nil)
		if cut {
			c.cuts.Add(1)
			_ = near.Close()
			if !c.forward.Load() {
				return
			}
		}
		if _, err := far.Write(buffer[:n]); err != nil {
			return
		}
		if cut { // the server has the whole message; it answers nobody, and reads the end after that
			_ = far.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, far)
			return
		}
	}
}
