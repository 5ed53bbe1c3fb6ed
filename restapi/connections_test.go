package restapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patience bounds what must happen soon.
const patience = 30 * time.Second

// serving starts a real server and gives its address.
func serving(t *testing.T, handler http.Handler, o ServeOptions) string {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, handler, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil { //nolint:forbidigo // the kernel's clock counts a socket's deadline
		t.Fatal(err)
	}
	return conn
}

// askRaw makes one request on a kept connection and gives its code.
func askRaw(t *testing.T, conn net.Conn, request string) int {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

const askPrimary = "GET /primary HTTP/1.1\r\nHost: x\r\n\r\n"

func TestPastTheBoundTheLongestIdleConnectionIsClosedAndNotTheNewOne(t *testing.T) {
	address := serving(t, newNode(t, primary(), onSockets), ServeOptions{Connections: 8})
	first := connect(t, address)
	if code := askRaw(t, first, askPrimary); code != http.StatusOK {
		t.Fatalf("code %d", code)
	}
	// The server notes a moment after its answer that a connection is idle, so which
	// is idle longest is its to say: it is closed in the end, and the newest never is.
	for closed, deadline := false, time.Now().Add(patience); !closed; { //nolint:forbidigo // a socket's deadline
		newest := connect(t, address)
		for range 2 {
			if code := askRaw(t, newest, askPrimary); code != http.StatusOK {
				t.Fatalf("code %d", code)
			}
		}
		if err := first.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil { //nolint:forbidigo // likewise
			t.Fatal(err)
		}
		_, err := first.Read(make([]byte, 1))
		closed = errors.Is(err, io.EOF)
		if time.Now().After(deadline) { //nolint:forbidigo // likewise
			t.Fatalf("the connection idle longest is still open: %v", err)
		}
	}
}

func TestAConnectionAtWorkIsNotClosedForOthers(t *testing.T) {
	working, release := make(chan struct{}), make(chan struct{})
	address := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(working)
			<-release
		}
	}), ServeOptions{Connections: 8}) // an answered one becomes idle a moment after its answer was read
	slow := connect(t, address)
	if _, err := io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-working
	for range 30 {
		askRaw(t, connect(t, address), askPrimary)
	}
	close(release)
	if response, err := http.ReadResponse(bufio.NewReader(slow), nil); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the one at work: %v, %v", response, err)
	}
}

func TestClientsThatSendSlowlyAreCutOff(t *testing.T) {
	node := newNode(t, primary(), onSockets, func(o *Options) { o.Access = Access{} })
	address := serving(t, node, ServeOptions{})
	for name, sent := range map[string]string{
		"a header without end":        "GET /primary HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"nothing at all":              "",
		"a body that does not come":   "PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"a body where none is wanted": "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"a body behind a GET":         "GET /patroni HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"a chunk that does not come":  "POST /pgkeeper/ping HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, address)
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("not cut off within %s: %v", patience, err)
			}
		})
	}
}

func TestHeadersBodiesAndDepthAreBounded(t *testing.T) {
	address := serving(t, newNode(t, primary(), onSockets), ServeOptions{})
	head := "PATCH /config HTTP/1.1\r\nHost: x\r\n"
	deep := strings.Repeat(`{"a":`, deepest) + "{}" + strings.Repeat("}", deepest)
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"a header of 64 KiB":  {"GET /primary HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"a body of 1 MiB":     {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, 1<<20, strings.Repeat(" ", 1<<20)), http.StatusRequestEntityTooLarge},
		"a body of 33 levels": {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(deep), deep), http.StatusBadRequest},
	} {
		conn := connect(t, address)
		go func() { _, _ = io.WriteString(conn, c.request) }() // the answer may come before its end
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if response.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", name, response.Status, c.want)
		}
		response.Body.Close()
	}
}

func TestDepthDoesNotCountWhatStandsInTexts(t *testing.T) {
	for text, want := range map[string]int{`{}`: 1, `{"a":"[[[{{{","b":[1,{"c":"\"[["}]}`: 3, `"x"`: 0} {
		if got := depth([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
