package peer

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

var secret = bytes.Repeat([]byte{7}, 32)

func self(name string, term cluster.Term) Self {
	return Self{Name: name, Secret: func() []byte { return secret }, Term: func() cluster.Term { return term }}
}

// agent serves what a verifier lets pass, with 200 and the caller's name.
func agent(t *testing.T, v *Verifier) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		caller, refusal := v.Verify(r, body)
		code, said := http.StatusOK, []byte("hello "+caller.Name)
		if refusal != nil {
			refusal.Challenge(w.Header())
			code, said = refusal.Code, []byte(refusal.Text)
		}
		v.SignAnswer(w.Header(), caller, code, said)
		w.WriteHeader(code)
		_, _ = w.Write(said)
	}))
	t.Cleanup(server.Close)
	return server
}

func post(t *testing.T, c *Client, to, url string) (Answer, error) {
	t.Helper()
	return c.Post(t.Context(), to, url+"/patroni", "/pgkeeper/ping", []byte(`{"a":1}`))
}

func TestACallGetsThroughAndSoDoesTheNext(t *testing.T) {
	server := agent(t, NewVerifier(self("pg2", 7)))
	client := NewClient(self("ä b/\"c", 7), http.DefaultTransport)
	for range 3 {
		a, err := post(t, client, "pg2", server.URL)
		if err != nil || a.Code != http.StatusOK || string(a.Body) != "hello ä b/\"c" {
			t.Fatalf("%d %q, %v", a.Code, a.Body, err)
		}
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	server := agent(t, NewVerifier(self("pg2", 7)))
	other := Self{Name: "pg1", Secret: func() []byte { return bytes.Repeat([]byte{8}, 32) }, Term: func() cluster.Term { return 9 }}
	if _, err := post(t, NewClient(other, http.DefaultTransport), "pg2", server.URL); !errors.Is(err, ErrForged) {
		t.Errorf("another key: %v", err)
	}
	unknown := Self{Name: "pg1", Secret: func() []byte { return nil }, Term: other.Term}
	if _, err := post(t, NewClient(unknown, http.DefaultTransport), "pg2", server.URL); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	for name, c := range map[string]struct {
		term cluster.Term
		to   string
		want int
	}{
		"an older term":           {6, "pg2", http.StatusConflict},
		"for another member":      {7, "pg3", http.StatusMisdirectedRequest},
		"a newer term than known": {8, "pg2", http.StatusOK},
	} {
		a, err := post(t, NewClient(self("pg1", c.term), http.DefaultTransport), c.to, server.URL)
		if err != nil || a.Code != c.want {
			t.Errorf("%s: %d %q, %v", name, a.Code, a.Body, err)
		}
	}
}

// recorded gives the last request a client made that was let pass.
func recorded(t *testing.T, v *Verifier) (*http.Request, []byte) {
	t.Helper()
	var last *http.Request
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		last = r.Clone(t.Context())
		return http.DefaultTransport.RoundTrip(r)
	})
	if a, err := post(t, NewClient(self("pg1", 7), transport), "pg2", agent(t, v).URL); err != nil || a.Code != http.StatusOK {
		t.Fatalf("%d, %v", a.Code, err)
	}
	last.RequestURI = ""
	return last, []byte(`{"a":1}`)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNothingOfACallCanBeChangedOrUsedTwice(t *testing.T) {
	v := NewVerifier(self("pg2", 7))
	r, body := recorded(t, v)
	if _, refusal := v.Verify(r, body); refusal == nil || refusal.Code != http.StatusForbidden {
		t.Errorf("a replay: %v", refusal)
	}
	for name, change := range map[string]func(*http.Request) []byte{
		"method":  func(r *http.Request) []byte { r.Method = http.MethodPut; return body },
		"path":    func(r *http.Request) []byte { r.URL.Path = "/pgkeeper/promise"; return body },
		"query":   func(r *http.Request) []byte { r.URL.RawQuery = "force"; return body },
		"body":    func(*http.Request) []byte { return []byte(`{"a":2}`) },
		"from":    func(r *http.Request) []byte { r.Header.Set(headerFrom, "pg3"); return body },
		"to":      func(r *http.Request) []byte { r.Header.Set(headerTo, "pg3"); return body },
		"term":    func(r *http.Request) []byte { r.Header.Set(headerTerm, "8"); return body },
		"nonce":   func(r *http.Request) []byte { r.Header.Set(headerNonce, "another"); return body },
		"session": func(r *http.Request) []byte { r.Header.Set(headerSession, v.session+"x"); return body },
		"signature": func(r *http.Request) []byte {
			r.Header.Set(headerSignature, strings.Repeat("00", 32))
			return body
		},
		"no headers": func(r *http.Request) []byte { r.Header = http.Header{}; return body },
	} {
		changed := r.Clone(t.Context())
		_, refusal := v.Verify(changed, change(changed))
		if refusal == nil || refusal.Code != http.StatusUnauthorized {
			t.Errorf("%s changed: %v", name, refusal)
		}
	}
}

func TestARestartedVerifierTakesNoCallOfBefore(t *testing.T) {
	r, body := recorded(t, NewVerifier(self("pg2", 7)))
	after := NewVerifier(self("pg2", 7))
	if _, refusal := after.Verify(r, body); refusal == nil || refusal.Session != after.session {
		t.Errorf("a call recorded before the restart: %v", refusal)
	}
}

func TestASessionThatIsFullEndsAndCallersFollow(t *testing.T) {
	v := NewVerifier(self("pg2", 7))
	r, body := recorded(t, v)
	for n := range mostNonces {
		v.seen[strings.Repeat("x", n%8)+string(rune(n))] = struct{}{}
	}
	client := NewClient(self("pg1", 7), http.DefaultTransport)
	if a, err := post(t, client, "pg2", agent(t, v).URL); err != nil || a.Code != http.StatusOK || len(v.seen) > 2 {
		t.Errorf("%d, %v, %d nonces", a.Code, err, len(v.seen))
	}
	if _, refusal := v.Verify(r, body); refusal == nil {
		t.Error("a call of the session that ended was let pass")
	}
}

func TestAnAnswerThatIsNotSignedIsNone(t *testing.T) {
	v := NewVerifier(self("pg2", 7))
	var forged atomic.Int32
	real := agent(t, v)
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && response.StatusCode == http.StatusOK {
			forged.Add(1)
			response.Body = io.NopCloser(strings.NewReader("hello somebody else"))
		}
		return response, err
	})
	if _, err := post(t, NewClient(self("pg1", 7), transport), "pg2", real.URL); !errors.Is(err, ErrForged) || forged.Load() != 1 {
		t.Errorf("a forged answer: %v", err)
	}
}

func TestACertificateNobodyVouchesForEndsTheCall(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	if _, err := post(t, NewClient(self("pg1", 7), http.DefaultTransport), "pg2", server.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func FuzzWhateverIsAskedIsRefusedWithoutTheKey(f *testing.F) {
	f.Add("POST", "pg1", "7", "nonce", "aa", []byte("x"))
	f.Fuzz(func(t *testing.T, method, from, term, nonce, signature string, body []byte) {
		v := NewVerifier(self("pg2", 7))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/pgkeeper/ping", http.NoBody)
		r.Method = method
		for name, value := range map[string]string{headerFrom: from, headerTo: "pg2", headerTerm: term, headerNonce: nonce, headerSession: v.session, headerSignature: signature} {
			r.Header.Set(name, value)
		}
		if _, refusal := v.Verify(r, body); refusal == nil {
			t.Error("let pass")
		}
		if len(v.seen) != 0 {
			t.Error("a nonce of somebody without the key is remembered")
		}
	})
}
