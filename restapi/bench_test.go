package restapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkHandler measures the package alone: no sockets, no net/http.
func BenchmarkHandler(b *testing.B) {
	n := newNode(b, primary())
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		b.Run(method, func(b *testing.B) {
			r := httptest.NewRequest(method, "/primary", nil)
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				n.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkPrimary measures whole answers over loopback: 16 keep-alive
// connections in a closed loop, client and server in this process. The client is
// as cheap as one can be, since it shares the processors.
func BenchmarkPrimary(b *testing.B) {
	address := serve(b, newNode(b, primary(), onSockets))
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		b.Run(method, func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			spans := make([][]time.Duration, 16)
			b.ResetTimer()
			var clients sync.WaitGroup
			for i := range spans {
				clients.Go(func() {
					c := dial(b, address, method)
					for left.Add(-1) >= 0 {
						began := time.Now()
						c.ask(b)
						spans[i] = append(spans[i], time.Since(began))
					}
				})
			}
			clients.Wait()
			b.StopTimer()
			report(b, spans)
		})
	}
}

// BenchmarkPrimaryOffered offers 5,000 requests a second on 16 connections,
// whatever the answers take; a request counts from when it was due.
func BenchmarkPrimaryOffered(b *testing.B) {
	address := serve(b, newNode(b, primary(), onSockets))
	const connections, rate = 16, 5000
	spans := make([][]time.Duration, connections)
	began := time.Now()
	var clients sync.WaitGroup
	for i := range spans {
		clients.Go(func() {
			c := dial(b, address, http.MethodGet)
			for k := i; k < b.N; k += connections {
				due := began.Add(time.Duration(k) * time.Second / rate)
				<-time.After(time.Until(due))
				c.ask(b)
				spans[i] = append(spans[i], time.Since(due))
			}
		})
	}
	clients.Wait()
	report(b, spans)
}

func report(b *testing.B, spans [][]time.Duration) {
	all := slices.Concat(spans...)
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

// serve starts the real server on a free port.
func serve(tb testing.TB, handler http.Handler) string {
	tb.Helper()
	listener, err := Listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return serveOn(tb, listener, handler)
}

func serveTLS(tb testing.TB, handler http.Handler, config *tls.Config) string {
	tb.Helper()
	listener, err := Listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return serveOn(tb, tls.NewListener(listener, config), handler)
}

func serveOn(tb testing.TB, listener net.Listener, handler http.Handler) string {
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, handler, ServeOptions{}) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	return listener.Addr().String()
}

// client is one keep-alive connection that sends the same request again and again.
type client struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
}

func dial(tb testing.TB, address, method string) *client {
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &client{conn, bufio.NewReaderSize(conn, 8192), []byte(method + " /primary HTTP/1.1\r\nHost: pg-1\r\n\r\n")}
}

// ask sends the request and reads one answer to its end.
func (c *client) ask(tb testing.TB) {
	if _, err := c.conn.Write(c.request); err != nil {
		tb.Error(err)
		return
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil || first && !strings.HasPrefix(string(line), "HTTP/1.1 200") {
			tb.Errorf("answer %q, %v", line, err)
			return
		}
		if len(line) <= 2 {
			break
		}
		if value, found := strings.CutPrefix(string(line), "Content-Length: "); found {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	if _, err := io.CopyN(io.Discard, c.reader, int64(length)); err != nil {
		tb.Error(err)
	}
}
