package restapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// answer is what an operation says: a text for people, or JSON.
type answer struct {
	code int
	text string
	// detail goes into a header beside a text whose words are fixed by Patroni.
	detail string
	json   json.RawMessage
}

// operation carries one unsafe request out. The body was read and bounded.
type operation func(ctx context.Context, body []byte, f facts) answer

// Headers pgkeeper adds to the answers of writes.
const (
	// HeaderDetail explains an answer whose text is Patroni's.
	HeaderDetail = "Pgkeeper-Detail"
	// HeaderRequest is the id of the request made for this call.
	HeaderRequest = "Pgkeeper-Request"
)

// guarded wraps an operation: who asks, what the body is, then the operation.
func (s *Server) guarded(op write) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if refused := s.admit(r); refused != nil {
			s.turnAway(w, r, refused)
			return
		}
		body, refused := s.readBody(w, r, op.body)
		if refused != nil {
			refused.send(w)
			return
		}
		// The wait for a result may outlast the server's write timeout. A
		// transport without deadlines (a test's recorder) needs none lifted.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		out := op.do(r.Context(), body, s.facts())
		s.log.Info("operator request answered", "method", op.method, "path", op.path, "remote", r.RemoteAddr, "status", out.code)
		out.send(w)
	}
}

// turnAway answers who may not ask.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, refused *answer) {
	s.log.Warn("unsafe request refused", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr, "reason", refused.text)
	if refused.code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="pgkeeper", charset="UTF-8"`)
	}
	refused.send(w)
}

func (a answer) send(w http.ResponseWriter) {
	if a.detail != "" {
		w.Header().Set(HeaderDetail, a.detail)
	}
	if a.json != nil {
		writeJSON(w, a.code, a.json)
		return
	}
	writeText(w, a.code, a.text)
}

// refuse makes the answer to a request that cannot be.
func refuse(code int, format string, args ...any) answer {
	return answer{code: code, text: fmt.Sprintf(format, args...)}
}

// bound is how long a write waits for its result: Patroni's 2 x max(10 s,
// loop_wait), and never less than least.
func (s *Server) bound(f facts, least time.Duration) time.Duration {
	if s.options.WaitLimit > 0 {
		return s.options.WaitLimit
	}
	return max(2*max(10*time.Second, f.loopWait()), least)
}

// ready refuses a write on a node that cannot take any yet.
func (s *Server) ready(f facts) *answer {
	if s.options.Operator == nil {
		a := refuse(http.StatusServiceUnavailable, "this process takes no requests")
		return &a
	}
	if f.Name == "" {
		a := refuse(http.StatusServiceUnavailable, "the agent is starting: try again in a moment")
		return &a
	}
	return nil
}

// submit hands this member a request and waits for the result. what names the
// operation in answers ("Restart").
func (s *Server) submit(ctx context.Context, f facts, kind cluster.RequestKind, args any, what string, least time.Duration) (cluster.Result, *answer) {
	if refused := s.ready(f); refused != nil {
		return cluster.Result{}, refused
	}
	request := cluster.Request{ID: s.options.NewID(), Member: f.Name, Kind: kind}
	if args != nil {
		raw, err := json.Marshal(args)
		if err != nil {
			a := refuse(http.StatusBadRequest, "write the request: %v", err)
			return cluster.Result{}, &a
		}
		request.Args = raw
	}
	limit := s.bound(f, least)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	result, err := s.options.Operator.Submit(ctx, request)
	if err != nil {
		a := s.failed(ctx, err, what, request.ID, limit)
		return cluster.Result{}, &a
	}
	return result, nil
}

// failed answers for an operation that brought no result.
func (s *Server) failed(ctx context.Context, err error, what, id string, limit time.Duration) answer {
	switch {
	case errors.Is(err, ErrConflict):
		return refuse(http.StatusConflict, "%s: %v", what, err)
	case errors.Is(err, ErrInvalid):
		return refuse(http.StatusBadRequest, "%s: %v", what, err)
	case errors.Is(err, ErrAbsent):
		return refuse(http.StatusNotFound, "%s: %v", what, err)
	case ctx.Err() != nil:
		return refuse(http.StatusServiceUnavailable, "%s status unknown after %g seconds; operation may still be in progress (request %s)",
			what, limit.Seconds(), id)
	}
	return answer{
		code: http.StatusServiceUnavailable, text: fmt.Sprintf("%s failed: %v", what, err),
		detail: "request " + id,
	}
}
