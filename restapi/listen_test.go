package restapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAPortInUseIsExplained(t *testing.T) {
	first, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	address := first.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_, err = Listen(t.Context(), address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("listening twice: %v", err)
	}
	for _, part := range []string{address, "another process uses port " + port, "ss -ltnp", "restapi.listen"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestAnAddressThatCannotBeIsExplained(t *testing.T) {
	cases := map[string]string{
		"8008":            "want host:port",
		"":                "want host:port",
		"192.0.2.77:0":    "no address 192.0.2.77",
		"127.0.0.1:99999": "restapi.listen",
	}
	for address, want := range cases {
		listener, err := Listen(t.Context(), address)
		if err == nil {
			listener.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v, want %q", address, err, want)
		}
	}
}

func TestAStarListensEverywhere(t *testing.T) {
	listener, err := Listen(t.Context(), "*:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if addr, ok := listener.Addr().(*net.TCPAddr); !ok || !addr.IP.IsUnspecified() {
		t.Errorf("*:0 listens on %s", listener.Addr())
	}
}

// request sends one real request and returns the code and the body.
func request(t *testing.T, client *http.Client, method, target string, body io.Reader) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return w.StatusCode, string(text)
}

func TestOverRealConnections(t *testing.T) {
	o := &operator{result: cluster.Result{Done: true, NewLeader: "pg-2"}}
	base := "http://" + serve(t, newNode(t, primary(), operated(o), onSockets))
	if code, body := request(t, http.DefaultClient, "GET", base+"/primary", nil); code != 200 || !strings.Contains(body, `"role":"primary"`) {
		t.Errorf("GET /primary: %d %s", code, body)
	}
	if code, body := request(t, http.DefaultClient, "OPTIONS", base+"/replica", nil); code != 503 || body != "" {
		t.Errorf("OPTIONS /replica: %d %q", code, body)
	}
	if code, body := request(t, http.DefaultClient, "POST", base+"/switchover", strings.NewReader(`{"leader":"pg-1"}`)); code != 200 {
		t.Errorf("POST /switchover: %d %s", code, body)
	}
	chunked := io.MultiReader(strings.NewReader(`{"leader":`), strings.NewReader(`"pg-1"}`))
	if code, body := request(t, http.DefaultClient, "POST", base+"/switchover", chunked); code != 200 {
		t.Errorf("POST /switchover in chunks: %d %s", code, body)
	}
	if code, body := request(t, http.DefaultClient, "POST", base+"/switchover", nil); code != 400 && code != 411 {
		t.Errorf("POST /switchover without a body: %d %s", code, body)
	}
	huge := strings.NewReader(strings.Repeat(" ", bodyLimit) + "{}")
	if code, body := request(t, http.DefaultClient, "PATCH", base+"/config", huge); code != 413 {
		t.Errorf("PATCH /config with too much: %d %s", code, body)
	}
}

// TestHTTP10AsPatroniSpeaksIt: old checkers send no Host and no keep-alive.
func TestHTTP10AsPatroniSpeaksIt(t *testing.T) {
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", serve(t, newNode(t, primary(), onSockets)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "OPTIONS /primary HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK\r\n") {
		t.Errorf("answer %q, %v", answer, err)
	}
}

// TestShutdownIsBounded: a write that waits does not keep the agent from ending.
func TestShutdownIsBounded(t *testing.T) {
	n := newNode(t, primary(), onSockets, operated(&operator{silent: true}), func(o *Options) { o.WaitLimit = time.Hour })
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		n.ServeHTTP(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, handler, ServeOptions{}) }()
	cut := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+listener.Addr().String()+"/reload", nil)
		if err == nil {
			var w *http.Response
			if w, err = http.DefaultClient.Do(r); err == nil {
				w.Body.Close()
			}
		}
		cut <- err
	}()
	<-arrived
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("still serving %s after the end", patience)
	}
	if err := <-cut; err == nil {
		t.Error("the waiting request got an answer; it should have been cut off")
	}
}

func TestABrokenListenerEndsServing(t *testing.T) {
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := Serve(t.Context(), listener, newNode(t, primary()), ServeOptions{}); err == nil {
		t.Error("serving on a closed listener: no error")
	}
}

func TestAPanicShowsNoStackTrace(t *testing.T) {
	var log bytes.Buffer
	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, listener, panics, ServeOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	}()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	answer, _ := io.ReadAll(conn)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
	if len(answer) != 0 {
		t.Errorf("answer %q, want none", answer)
	}
	if got := log.String(); strings.Contains(got, "goroutine") || !strings.Contains(got, "request handler panicked") || !strings.Contains(got, "boom") {
		t.Errorf("log %q", got)
	}
}
