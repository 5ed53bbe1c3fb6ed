package peer

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// What a call can end with beyond an answer.
var (
	// ErrNoKey: this member does not know the cluster's peer key yet.
	ErrNoKey = errors.New("the cluster's peer key is not known here yet")
	// ErrForged: the answer is not signed by an agent of this cluster.
	ErrForged = errors.New("the answer is not signed with the cluster's peer key")
)

// Client calls other agents. It is safe for concurrent use.
type Client struct {
	self Self
	http *http.Client

	mu       sync.Mutex
	sessions map[string]string // by member
}

// NewClient makes the client of one member. transport verifies certificates; a
// redirect is never followed, for it would lead somewhere else than the store says.
func NewClient(self Self, transport http.RoundTripper) *Client {
	return &Client{self: self, sessions: map[string]string{}, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer is what another agent said, and signed.
type Answer struct {
	Code int
	Body []byte
}

// answerLimit is the longest answer read.
const answerLimit = 64 << 10

// Post calls member at the host of its apiURL. The error is about the call; what
// the other agent answered, even a refusal of what was asked, is in the answer.
func (c *Client) Post(ctx context.Context, member, apiURL, path string, body []byte) (Answer, error) {
	target, err := url.Parse(apiURL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return Answer{}, fmt.Errorf("call %s: its api_url %q is no http or https address", member, apiURL)
	}
	where := url.URL{Scheme: target.Scheme, Host: target.Host, Path: path}
	// The first try of all to an agent learns its session; one that is full has the
	// second learn the next.
	for range 3 {
		answer, session, err := c.try(ctx, member, where, body)
		if session == "" {
			if err != nil {
				err = fmt.Errorf("call %s at %s: %w", member, where.Host, err)
			}
			return answer, err
		}
		c.learn(member, session)
	}
	return Answer{}, fmt.Errorf("call %s at %s: it asks for another session again and again: are two agents behind one address?", member, where.Host)
}

// Login is a name and a password for Basic authentication; without a name there is none.
type Login struct{ Username, Password string }

// Plain calls a member that is no agent of ours, unsigned, as Patroni's members call
// each other: with the login that all of them share. Nothing proves who answers.
func (c *Client) Plain(ctx context.Context, member, apiURL, path string, body []byte, as Login) (Answer, error) {
	target, err := url.Parse(apiURL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return Answer{}, fmt.Errorf("call %s: its api_url %q is no http or https address", member, apiURL)
	}
	where := url.URL{Scheme: target.Scheme, Host: target.Host, Path: path}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("call %s: %w", member, err)
	}
	r.Header.Set("Content-Type", "application/json")
	if as.Username != "" {
		r.SetBasicAuth(as.Username, as.Password)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("call %s at %s: %w", member, where.Host, plain(err))
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return Answer{}, fmt.Errorf("call %s at %s: %w", member, where.Host, plain(err))
	}
	return Answer{Code: response.StatusCode, Body: data}, nil
}

// try makes one call; session is set when the other wants that one named.
func (c *Client) try(ctx context.Context, member string, where url.URL, body []byte) (a Answer, session string, err error) {
	secret := c.self.Secret()
	if len(secret) == 0 {
		return a, "", ErrNoKey
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(body))
	if err != nil {
		return a, "", err
	}
	signed := call{method: r.Method, path: r.URL.RequestURI(), from: c.self.Name, to: member, term: c.self.Term(), session: c.session(member), nonce: newNonce()}
	signed.sign(r.Header, secret, body)
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return a, "", plain(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	switch {
	case err != nil:
		return a, "", plain(err)
	case len(data) > answerLimit:
		return a, "", fmt.Errorf("the answer is longer than %d bytes", answerLimit)
	}
	if session = response.Header.Get(headerSession); response.StatusCode == http.StatusUnauthorized && session != "" {
		return a, session, nil
	}
	signature, err := hex.DecodeString(response.Header.Get(headerSignature))
	if err != nil || !hmac.Equal(signature, answerMAC(secret, signed.nonce, response.StatusCode, data)) {
		return a, "", fmt.Errorf("%w: %s: %s", ErrForged, response.Status, clip(data))
	}
	return Answer{Code: response.StatusCode, Body: data}, "", nil
}

func (c *Client) session(member string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[member]
}

func (c *Client) learn(member, session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[member] = session
}

// plain is the reason inside net/http's error, which names the URL that is named
// anyway.
func plain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// clip is the beginning of an answer, on one line.
func clip(data []byte) string {
	const longest = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(data), "?")), " ")
	return text[:min(len(text), longest)]
}
