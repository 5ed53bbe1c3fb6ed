package restapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

// failsafe answers the members that failsafe mode would ask.
func (s *Server) failsafe(w http.ResponseWriter, _ *http.Request) {
	members := s.facts().View.Value.Failsafe
	if len(members) == 0 {
		writeText(w, http.StatusBadGateway, "failsafe mode is off")
		return
	}
	writeJSON(w, http.StatusOK, members)
}

// failsafeWait bounds how long an answer is waited for: longer nobody's deadline allows.
const failsafeWait = 5 * time.Second

// askedByAgent is the question of another agent. Its answer is signed like every other.
func (s *Server) askedByAgent(ctx context.Context, body []byte, from peer.Caller, _ facts) answer {
	var call cluster.FailsafeCall
	if err := json.Unmarshal(body, &call); err != nil || call.Term <= 0 {
		return refuse(http.StatusBadRequest, "want a JSON object with term and ttl_ms")
	}
	_, out := s.ask(ctx, cluster.FailsafeAsk{Name: from.Name, Term: call.Term, TTL: time.Duration(call.TTL) * time.Millisecond})
	return out
}

// askedByPatroni is Patroni's POST /failsafe: unsigned, and so taken only from who may
// ask as Patroni's members do, in the name of a member that the store shows to be
// Patroni's. Patroni waits for ttl.
func (s *Server) askedByPatroni(w http.ResponseWriter, r *http.Request) {
	if refused := s.admitPatroni(r); refused != nil {
		s.turnAway(w, r, refused)
		return
	}
	body, refused := s.readBody(w, r, bodyRequired)
	if refused != nil {
		refused.send(w)
		return
	}
	call := parseFields(body)
	name := call.text("name")
	if name == "" {
		call.fail("want a JSON object with name")
	}
	if call.bad != nil {
		call.bad.send(w)
		return
	}
	a, out := s.ask(r.Context(), cluster.FailsafeAsk{Name: name, TTL: s.facts().ttl()})
	if a.Verdict == cluster.FailsafeAccepted {
		w.Header().Set("Lsn", strconv.FormatUint(uint64(a.LSN), 10))
	}
	out.send(w)
}

// ask has the loop answer.
func (s *Server) ask(ctx context.Context, ask cluster.FailsafeAsk) (cluster.FailsafeAnswer, answer) {
	if s.options.Failsafe == nil {
		return cluster.FailsafeAnswer{}, refuse(http.StatusServiceUnavailable, "this process makes no promises")
	}
	ctx, cancel := context.WithTimeout(ctx, failsafeWait)
	defer cancel()
	a := s.options.Failsafe(ctx, ask)
	if a.Verdict == cluster.FailsafeAccepted {
		return a, answer{code: http.StatusOK, text: cluster.FailsafeText}
	}
	code, known := verdicts[a.Verdict]
	if !known {
		code = http.StatusServiceUnavailable
	}
	return a, refuse(code, "%s", a.Why)
}

// verdicts are the statuses of refusals; Patroni's where it has them.
var verdicts = map[cluster.FailsafeVerdict]int{
	cluster.FailsafeOff: http.StatusBadGateway, cluster.FailsafePrimary: http.StatusInternalServerError,
	cluster.FailsafeInvalid: http.StatusBadRequest, cluster.FailsafeForeign: http.StatusForbidden, cluster.FailsafeConflict: http.StatusConflict,
}
