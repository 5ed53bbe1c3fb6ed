package restapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Listen opens the address of restapi.listen: host:port, where an empty host and
// * mean every address. Its error says what is wrong, where to look and what to
// change.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("restapi.listen is %q: want host:port, such as 0.0.0.0:8008: %w", address, err)
	}
	if host == "*" {
		host = ""
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err == nil {
		return listener, nil
	}
	return nil, fmt.Errorf("listen on %s: %w: %s", address, err, advice(err, host, port))
}

// advice says what to do about an address that cannot be opened.
func advice(err error, host, port string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("another process uses port %s, perhaps a second agent or Patroni; see which with \"ss -ltnp 'sport = :%s'\", then stop it or change restapi.listen", port, port)
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need root or CAP_NET_BIND_SERVICE; use a higher port in restapi.listen"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this machine has no address %s; see its addresses with \"ip address\" and change restapi.listen", host)
	}
	return "check restapi.listen"
}

// The limits of a connection. A wait for the result of a write is no read and no
// write; it has its own bound.
const (
	headerTime   = 5 * time.Second
	idleTime     = 2 * time.Minute
	writeTime    = time.Minute
	headerBytes  = 16 << 10
	shutdownTime = 2 * time.Second
)

// Serve answers on listener until ctx ends, then lets requests under way finish
// for at most two seconds, and returns nil. It returns early, with an error, only
// when the listener fails. With TLS, wrap the listener by tls.NewListener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, o ServeOptions) error {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	open := newConnections(o.Connections, log)
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		IdleTimeout:       idleTime,
		WriteTimeout:      writeTime,
		MaxHeaderBytes:    headerBytes,
		ConnState:         open.state,
		ConnContext:       withConnection,
		ErrorLog:          slog.NewLogLogger(quiet{log.Handler()}, slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve rest api on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		_ = server.Close() // whoever still waits after the bound is cut off
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve rest api on %s: %w", listener.Addr(), err)
	}
	return nil
}

// quiet gives net/http's own lines, which a port scan or a bad client causes, one
// constant message.
type quiet struct{ slog.Handler }

// Handle rewrites the record; a panic's stack, cut to its first line, stays an
// error.
func (q quiet) Handle(ctx context.Context, record slog.Record) error {
	line, _, _ := strings.Cut(record.Message, "\n")
	level, message := slog.LevelDebug, "connection failed"
	if strings.HasPrefix(line, "http: panic") {
		level, message = slog.LevelError, "request handler panicked"
	}
	if !q.Handler.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(record.Time, level, message, 0)
	out.AddAttrs(slog.String("error", line))
	return q.Handler.Handle(ctx, out)
}

// Enabled lets every line through to Handle, which judges it.
func (q quiet) Enabled(context.Context, slog.Level) bool { return true }
