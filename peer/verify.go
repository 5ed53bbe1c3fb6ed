package peer

import (
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Self is what both ends must know of the member they run in.
type Self struct {
	// Name is the member's.
	Name string
	// Secret is the cluster's peer key; nil while it is not known.
	Secret func() []byte
	// Term is the newest term this member knows of.
	Term func() cluster.Term
}

// Verifier judges calls of other agents. It is safe for concurrent use.
type Verifier struct {
	self Self

	mu      sync.Mutex
	session string
	seen    map[string]struct{}
}

// mostNonces is how many calls a session takes. The next one begins a new
// session, for which every caller has to ask: nothing is forgotten that could
// then be replayed.
const mostNonces = 4096

// NewVerifier makes the verifier of one member.
func NewVerifier(self Self) *Verifier {
	return &Verifier{self: self, session: newNonce(), seen: map[string]struct{}{}}
}

// Caller is who made a call that was let pass.
type Caller struct {
	// Name is the member that signed; empty for an operator's command line.
	Name string
	// Term is the newest the caller knew of.
	Term  cluster.Term
	nonce string
}

// Refusal says why a call was not let pass, as it is answered.
type Refusal struct {
	Code int
	Text string
	// Session, when set, is what the caller must name: it did not know.
	Session string
}

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

// Verify judges a request with that body. Only who knows the key learns more than
// that a signature is wanted, and only his nonces are remembered.
func (v *Verifier) Verify(r *http.Request, body []byte) (Caller, *Refusal) {
	secret := v.self.Secret()
	if len(secret) == 0 {
		return Caller{}, &Refusal{Code: http.StatusServiceUnavailable, Text: "the cluster's peer key is not known here yet"}
	}
	c, signature, ok := callOf(r)
	if !ok {
		return Caller{}, v.challenge("a call between agents must be signed with the cluster's peer key")
	}
	if !hmac.Equal(signature, c.mac(secret, body)) {
		return Caller{}, &Refusal{Code: http.StatusUnauthorized, Text: "the signature is not one of the cluster's peer key"}
	}
	caller := Caller{Name: c.from, Term: c.term, nonce: c.nonce}
	if c.to != v.self.Name {
		return caller, &Refusal{Code: http.StatusMisdirectedRequest, Text: fmt.Sprintf("the call is for member %q, this is %q", c.to, v.self.Name)}
	}
	if known := v.self.Term(); c.term < known {
		return caller, &Refusal{Code: http.StatusConflict, Text: fmt.Sprintf("the call is of term %d, here term %d is known: it is out of date", c.term, known)}
	}
	if refused := v.once(c); refused != nil {
		return caller, refused
	}
	return caller, nil
}

// once lets a nonce of this session pass a single time.
func (v *Verifier) once(c call) *Refusal {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.session != v.session {
		return &Refusal{Code: http.StatusUnauthorized, Text: "the call names no session of this agent", Session: v.session}
	}
	if _, again := v.seen[c.nonce]; again {
		return &Refusal{Code: http.StatusForbidden, Text: "the call was made before"}
	}
	if len(v.seen) >= mostNonces {
		v.session, v.seen = newNonce(), map[string]struct{}{}
		return &Refusal{Code: http.StatusUnauthorized, Text: "the session of this agent has ended", Session: v.session}
	}
	v.seen[c.nonce] = struct{}{}
	return nil
}

func (v *Verifier) challenge(text string) *Refusal {
	v.mu.Lock()
	defer v.mu.Unlock()
	return &Refusal{Code: http.StatusUnauthorized, Text: text, Session: v.session}
}

// Challenge puts the session on the answer to a refused call.
func (r *Refusal) Challenge(h http.Header) {
	if r.Session != "" {
		h.Set(headerSession, r.Session)
	}
}

// SignAnswer puts the signature of an answer on its headers, of a refusal too when
// the caller was known for one who has the key.
func (v *Verifier) SignAnswer(h http.Header, to Caller, code int, body []byte) {
	if to.nonce == "" {
		return
	}
	h.Set(headerSignature, hex.EncodeToString(answerMAC(v.self.Secret(), to.nonce, code, body)))
}
