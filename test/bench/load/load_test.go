package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func target(t *testing.T, h http.HandlerFunc) netip.AddrPort {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://"))
}

func load(t *testing.T, to netip.AddrPort, conns int, rate float64, length time.Duration) Result {
	t.Helper()
	g, err := newGenerator(to, "/primary", conns, rate)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if err := g.run(length); err != nil {
		t.Fatal(err)
	}
	return g.result(length)
}

func TestAClosedLoopAsksAsSoonAsItWasAnswered(t *testing.T) {
	r := load(t, target(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }), 4, 0, 300*time.Millisecond)
	if r.Requests < 4 || r.Status[http.StatusOK] != r.Requests || r.Errors != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAnOpenLoopOffersItsRate(t *testing.T) {
	r := load(t, target(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }), 4, 500, time.Second)
	// A closed loop asks thousands of times a second; a busy machine answers late, and fewer in time.
	if r.Requests < 50 || r.Requests > 501 || r.Status[http.StatusServiceUnavailable] != r.Requests {
		t.Errorf("%+v", r)
	}
}

func TestALateAnswerCountsFromWhenItsRequestWasDue(t *testing.T) {
	slow := func(w http.ResponseWriter, _ *http.Request) {
		<-time.NewTimer(50 * time.Millisecond).C // a slow server is the case
		w.WriteHeader(http.StatusOK)
	}
	r := load(t, target(t, slow), 1, 100, 500*time.Millisecond)
	if r.Max < 0.2 {
		t.Errorf("the longest took %.3f s: with 100 requests a second and 20 answered, the last was due long before it was sent", r.Max)
	}
}

func TestAServerThatClosesIsConnectedToAnew(t *testing.T) {
	closing := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusOK)
	}
	r := load(t, target(t, closing), 2, 0, 300*time.Millisecond)
	if r.Requests < 20 || r.Errors != 0 || r.Reconnects < r.Requests-2 {
		t.Errorf("%+v", r)
	}
}

func TestAnswersAreReadWhole(t *testing.T) {
	for _, c := range []struct {
		name, in       string
		status, length int
		closes, ok     bool
	}{
		{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, 40, false, true},
		{"the old protocol closes", "HTTP/1.0 503 No\r\ncontent-length: 0\r\n\r\n", 503, 38, true, true},
		{"unless it says otherwise", "HTTP/1.0 503 No\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 503, 62, false, true},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", 0, 0, false, false},
		{"no length", "HTTP/1.0 200 OK\r\n\r\n{}", 200, 18, true, false},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", 0, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, length, closes, ok := answer([]byte(c.in))
			if status != c.status || closes != c.closes || ok != c.ok || ok && length != c.length {
				t.Errorf("got %d, %d, %t, %t", status, length, closes, ok)
			}
		})
	}
}
