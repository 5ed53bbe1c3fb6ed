package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The headers of a call and of its answer. Names are escaped as in a query.
const (
	headerFrom      = "Pgkeeper-From"
	headerTo        = "Pgkeeper-To"
	headerTerm      = "Pgkeeper-Term"
	headerSession   = "Pgkeeper-Session"
	headerNonce     = "Pgkeeper-Nonce"
	headerSignature = "Pgkeeper-Signature"
)

// The first field of what is signed: a signature of one kind is none of another.
const (
	kindCall   = "pgkeeper call 1"
	kindAnswer = "pgkeeper answer 1"
)

// mac signs fields, each with its length before it, so that no two lists of
// fields are signed alike.
func mac(secret []byte, fields ...string) []byte {
	h := hmac.New(sha256.New, secret)
	var length [8]byte
	for _, field := range fields {
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		h.Write(length[:])
		h.Write([]byte(field))
	}
	return h.Sum(nil)
}

// digest stands for a body.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return string(sum[:])
}

// call is everything a signature is over.
type call struct {
	method, path, from, to, session, nonce string
	term                                   cluster.Term
}

func (c call) mac(secret, body []byte) []byte {
	return mac(secret, kindCall, c.method, c.path, c.from, c.to,
		strconv.FormatInt(int64(c.term), 10), c.session, c.nonce, digest(body))
}

// answerMAC signs an answer to the call of that nonce.
func answerMAC(secret []byte, nonce string, code int, body []byte) []byte {
	return mac(secret, kindAnswer, nonce, strconv.Itoa(code), digest(body))
}

// sign puts the call's headers on a request.
func (c call) sign(h http.Header, secret, body []byte) {
	h.Set(headerFrom, url.QueryEscape(c.from))
	h.Set(headerTo, url.QueryEscape(c.to))
	h.Set(headerTerm, strconv.FormatInt(int64(c.term), 10))
	h.Set(headerSession, c.session)
	h.Set(headerNonce, c.nonce)
	h.Set(headerSignature, hex.EncodeToString(c.mac(secret, body)))
}

// callOf reads what a request claims to be; ok is false when it claims nothing.
func callOf(r *http.Request) (c call, signature []byte, ok bool) {
	c = call{method: r.Method, path: r.URL.RequestURI(), session: r.Header.Get(headerSession), nonce: r.Header.Get(headerNonce)}
	var errs [4]error
	c.from, errs[0] = url.QueryUnescape(r.Header.Get(headerFrom))
	c.to, errs[1] = url.QueryUnescape(r.Header.Get(headerTo))
	term, err := strconv.ParseInt(r.Header.Get(headerTerm), 10, 64)
	c.term, errs[2] = cluster.Term(term), err
	signature, errs[3] = hex.DecodeString(r.Header.Get(headerSignature))
	for _, err := range errs {
		if err != nil {
			return call{}, nil, false
		}
	}
	const longestNonce = 64 // a cache of nonces is bounded by their length too
	return c, signature, c.nonce != "" && len(c.nonce) <= longestNonce && len(signature) > 0
}

// newNonce is a text nobody guesses.
func newNonce() string { return rand.Text() }
