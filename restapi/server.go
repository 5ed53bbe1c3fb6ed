package restapi

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Server answers the node's HTTP requests. It is an http.Handler, safe for
// concurrent use.
type Server struct {
	options Options
	log     *slog.Logger
	// health holds the health checks by path, router everything (them too, for
	// the paths with a trailing slash).
	health map[string]check
	router http.Handler
	access atomic.Pointer[gate]
	// plain and secure are the ready-made extra headers of the two transports.
	plain, secure http.Header
	// body is the status JSON of the Status rendered last.
	body atomic.Pointer[rendered]
	// started bounds how long a node without any Status counts as alive.
	started cluster.Instant
	// hub is what listeners to /events hear.
	hub *hub
	// limits is what health checks remember of lag.
	limits limits
}

// New makes a Server. It fails only when the options are incomplete or the
// allowlist holds something that is no address, range or host name.
func New(options Options) (*Server, error) {
	if options.Status == nil || options.Now == nil || options.Wall == nil {
		return nil, errors.New("make rest server: Status, Now and Wall must be given")
	}
	if options.NewID == nil {
		options.NewID = rand.Text
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: options, log: options.Log, started: options.Now()}
	if err := s.SetAccess(options.Access); err != nil {
		return nil, err
	}
	s.plain = headers(options, false)
	s.secure = headers(options, true)
	s.hub = newHub(options.Listeners, rand.Text())
	s.health = healthChecks()
	s.router = s.routes()
	return s, nil
}

// SetAccess replaces who may use the unsafe methods, for a reload. Requests
// under way keep the rules they began with. On an error nothing changes.
func (s *Server) SetAccess(access Access) error {
	g, err := newGate(access)
	if err != nil {
		return err
	}
	s.access.Store(g)
	return nil
}

// ServeHTTP answers one request. Health checks do not pass through the router:
// load balancers ask them thousands of times a second.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.decorate(w, r)
	if c, found := s.health[r.URL.Path]; found && isRead(r.Method) {
		s.answerHealth(w, r, c)
		return
	}
	s.router.ServeHTTP(w, withoutSlash(r))
}

// withoutSlash drops one trailing slash: /replica/ is /replica, as in Patroni.
func withoutSlash(r *http.Request) *http.Request {
	path, found := strings.CutSuffix(r.URL.Path, "/")
	if !found || path == "" {
		return r
	}
	changed, target := *r, *r.URL
	target.Path, target.RawPath = path, ""
	changed.URL = &target
	return &changed
}

// decorate adds the configured headers.
func (s *Server) decorate(w http.ResponseWriter, r *http.Request) {
	extra := s.plain
	if r.TLS != nil {
		extra = s.secure
	}
	if len(extra) == 0 {
		return
	}
	maps.Copy(w.Header(), extra)
}

// headers renders the configured headers once.
func headers(options Options, secure bool) http.Header {
	h := http.Header{}
	switch options.ServerTokens {
	case "minimal":
		h.Set("Server", "pgkeeper/"+options.Version)
	case "productonly":
		h.Set("Server", "pgkeeper")
	}
	for name, value := range options.ExtraHeaders {
		h.Set(name, value)
	}
	if secure {
		for name, value := range options.ExtraHeadersTLS {
			h.Set(name, value)
		}
	}
	return h
}

// isRead reports whether a method is answered from memory, for anybody.
func isRead(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
