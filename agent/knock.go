package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
)

// knock tries whether anything of the leader's node answers.
func (n *Node) knock(ctx context.Context, do Knock) Event {
	e := Knocked{Leader: do.Leader, Began: n.clock.Now()}
	e.Answered = n.knocker.Knock(ctx, do)
	e.Ended = n.clock.Now()
	return e
}

// serverAfter is how long the agent may be asked alone: an answer of it spares the
// server a connection.
const serverAfter = 50 * time.Millisecond

// Knock implements Knocker: it asks the agent, and the server as well when the agent has
// not answered in a moment. Any answer will do, also a refusal of what was asked; a
// refused connection is none.
func (p *Peers) Knock(ctx context.Context, do Knock) (answered string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	agent, server := make(chan bool, 1), make(chan bool, 1)
	go func() {
		_, err := p.client.Post(ctx, do.Leader, do.APIURL, "/pgkeeper/ping", nil)
		agent <- !unreachable(err)
	}()
	alone := clock.Timer(serverAfter)
	defer alone.Stop()
	asked, ended := false, 0
	askServer := func() {
		if !asked {
			asked = true
			go func() { server <- serverAnswers(ctx, do.Host, do.Port) }()
		}
	}
	for ended < 2 {
		select {
		case ok := <-agent:
			if ok {
				return "agent"
			}
			ended++
			askServer()
		case ok := <-server:
			if ok {
				return "server"
			}
			ended++
		case <-alone.C:
			askServer()
		case <-ctx.Done():
			return ""
		}
	}
	return ""
}

// unreachable reports whether err says that nobody is there. Anything else, as a key or
// a certificate that does not fit, is no word about the other.
func unreachable(err error) bool {
	var network *net.OpError
	carried := errors.As(err, &network) && slices.Contains([]string{"dial", "read", "write"}, network.Op) // "remote error" is what TLS calls a refusal
	return carried || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// sslRequest is the first word of a connection that asks for TLS: a postmaster answers
// it with one byte, before it wants to know who asks.
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// serverAnswers reports whether a server says anything. That the kernel takes the
// connection is no answer: it does so for one that is frozen.
func serverAnswers(ctx context.Context, host, port string) bool {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write(sslRequest); err != nil {
		return false
	}
	n, _ := conn.Read(make([]byte, 1)) // an end of file is no answer: what ends there is not there for long
	return n > 0
}
