package restapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

// peerCall is a path for the cluster's own agents: whoever calls it has signed
// with the peer key, whatever restapi's access rules say.
type peerCall struct {
	path string
	do   func(ctx context.Context, body []byte, from peer.Caller, f facts) answer
}

// peerCalls lists every call between agents.
func (s *Server) peerCalls() []peerCall {
	return []peerCall{
		{"/pgkeeper/ping", s.ping},
		{"/pgkeeper/reach", s.reach},
		{"/pgkeeper/failsafe", s.askedByAgent},
	}
}

// betweenAgents wraps a call: who it is from, then the call, then the signature of
// the answer.
func (s *Server) betweenAgents(c peerCall) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		verifier := s.options.Peers
		if verifier == nil {
			writeText(w, http.StatusServiceUnavailable, "this process takes no calls between agents")
			return
		}
		body, refused := s.readBody(w, r, bodyOptional)
		if refused != nil {
			refused.send(w)
			return
		}
		from, refusal := verifier.Verify(r, body)
		var out answer
		if refusal != nil {
			refusal.Challenge(w.Header())
			out = answer{code: refusal.Code, text: refusal.Text}
			s.log.Debug("call of an agent refused", "path", c.path, "remote", r.RemoteAddr, "status", refusal.Code, "reason", refusal.Text)
		} else {
			out = c.do(r.Context(), body, from, s.facts())
		}
		said := []byte(out.text)
		if out.json != nil {
			said = out.json
		}
		verifier.SignAnswer(w.Header(), from, out.code, said)
		out.send(w)
	}
}

// ping says that this agent is there and which term it knows.
func (s *Server) ping(_ context.Context, _ []byte, _ peer.Caller, f facts) answer {
	pong := cluster.Pong{Name: f.Name, Term: f.Term}
	if leader := f.View.Value.Leader; leader != nil {
		pong.Term = max(pong.Term, leader.Term)
	}
	return jsonAnswer(pong)
}

// reach has this agent ping all others. What is found is no health: a member that
// is not reached can still hold the lease, and one that is may be frozen next.
func (s *Server) reach(ctx context.Context, _ []byte, _ peer.Caller, _ facts) answer {
	if s.options.Reach == nil {
		return refuse(http.StatusServiceUnavailable, "this process calls no other agents")
	}
	return jsonAnswer(s.options.Reach(ctx))
}

func jsonAnswer(value any) answer {
	raw, err := json.Marshal(value)
	if err != nil {
		return refuse(http.StatusInternalServerError, "write the answer as JSON: %v", err)
	}
	return answer{code: http.StatusOK, json: raw}
}
