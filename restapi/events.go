package restapi

import (
	"context"
	"net"
	"net/http"
	"time"
)

// listenerPatience is how long a write to a listener may take; longer, and it is gone.
const listenerPatience = 2 * time.Second

// listenerBuffer bounds what the kernel keeps for a listener that does not read, in
// bytes: otherwise megabytes of heartbeats would go by before a write has to wait.
const listenerBuffer = 16 << 10

// events tells who may be written to and read from, and every change of it, until the
// asker goes (server-sent events). It answers from the hub: nobody waits for a listener.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that would collect events before they pass them on
	if r.Method != http.MethodGet {
		return
	}
	if !s.hub.join() {
		h.Set("Retry-After", "1")
		writeText(w, http.StatusServiceUnavailable, "too many listen to /events of this agent, or it is going: ask another agent")
		return
	}
	defer s.hub.leave()
	narrow(r.Context())
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the request is whole; the answer has no end
	at := s.hub.resume(r.Header.Get("Last-Event-ID"))
	for {
		text, more, ok := s.hub.next(&at)
		if !ok || s.tell(w, control, text) != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

// tell writes to one listener, within its patience.
func (s *Server) tell(w http.ResponseWriter, control *http.ResponseController, text []byte) error {
	// A transport without deadlines (a test's recorder) writes without one.
	_ = control.SetWriteDeadline(s.options.Wall().Add(listenerPatience))
	if _, err := w.Write(text); err != nil {
		return err
	}
	return control.Flush()
}

// connectionKey finds the connection of a request in its context.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// narrow makes the send buffer of a listener's connection small.
func narrow(ctx context.Context) {
	c := ctx.Value(connectionKey{})
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	if plain, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = plain.SetWriteBuffer(listenerBuffer) // then it is dropped later
	}
}
