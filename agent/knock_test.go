package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

// TestAnyAnswerOfTheLeadersNodeIsOne: a refused or silent agent and a refused or silent
// server are none, whatever their kernel says of the connection.
func TestAnyAnswerOfTheLeadersNodeIsOne(t *testing.T) {
	known := knockerWithKey(t)
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(alive.Close)
	answering := listen(t, func(c net.Conn) {
		word := make([]byte, 8)
		if _, err := io.ReadFull(c, word); err == nil {
			fmt.Fprint(c, "N")
		}
	})
	hanging := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ending := listen(t, func(net.Conn) {})
	closed := listen(t, nil)
	for _, c := range []struct {
		name, agent, server string
		by                  *Peers
		want                string
	}{
		{"an agent that refuses what it is asked", alive.Listener.Addr().String(), closed, known, "agent"},
		{"a server without its agent", closed, answering, known, "server"},
		{"a server beside an agent that hangs", hanging, answering, known, "server"},
		{"nobody", closed, closed, known, ""},
		{"both hang", hanging, hanging, known, ""},
		{"a server that ends the connection without a word", closed, ending, known, ""},
		{"a member that does not know the key cannot ask an agent, and accuses nobody", closed, closed, newPeers("pg1", nil, nil, http.DefaultTransport, nil), "agent"},
	} {
		patience := 30 * time.Second
		if c.agent == hanging && c.server == hanging { // nothing else ends it
			patience = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		host, port, _ := net.SplitHostPort(c.server)
		if got := c.by.Knock(ctx, Knock{Leader: "pg2", APIURL: "http://" + c.agent + "/patroni", Host: host, Port: port}); got != c.want {
			t.Errorf("%s: %q answers, want %q", c.name, got, c.want)
		}
		cancel()
	}
}

// TestARefusalIsNoSilence: only what says that nobody is there does.
func TestARefusalIsNoSilence(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {peer.ErrForged, false}, {peer.ErrNoKey, false}, {errors.New("x509: certificate has expired"), false},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{fmt.Errorf("call pg2: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), true},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true}, {io.EOF, true}, {context.DeadlineExceeded, true},
	} {
		if got := unreachable(c.err); got != c.want {
			t.Errorf("%v: unreachable %t, want %t", c.err, got, c.want)
		}
	}
}

// knockerWithKey knows a peer key, as a member of a cluster does.
func knockerWithKey(t *testing.T) *Peers {
	t.Helper()
	p := newPeers("pg1", nil, nil, http.DefaultTransport, nil)
	p.client = peer.NewClient(peer.Self{Name: "pg1", Secret: func() []byte { return []byte("secret") }, Term: func() cluster.Term { return 60 }}, http.DefaultTransport)
	return p
}

// listen takes connections and serves each; nil refuses them.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if serve == nil {
		l.Close()
		return l.Addr().String()
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}
