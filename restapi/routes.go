package restapi

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// readMethods are answered from memory.
var readMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}

// write is one unsafe operation.
type write struct {
	method, path string
	body         bodyRule
	do           operation
}

// writes lists every unsafe operation.
func (s *Server) writes() []write {
	return []write{
		{http.MethodPost, "/switchover", bodyRequired, s.switchover},
		{http.MethodDelete, "/switchover", bodyIgnored, s.cancelSwitchover},
		{http.MethodPost, "/failover", bodyRequired, s.failover},
		{http.MethodDelete, "/failover", bodyIgnored, s.cancelSwitchover},
		{http.MethodPost, "/restart", bodyOptional, s.restart},
		{http.MethodDelete, "/restart", bodyIgnored, s.cancelRestart},
		{http.MethodPost, "/reload", bodyIgnored, s.reload},
		{http.MethodPost, "/reinitialize", bodyOptional, s.reinitialize},
		{http.MethodPost, "/pgkeeper/remove", bodyRequired, s.remove},
		{http.MethodPatch, "/config", bodyRequired, s.patchConfig},
		{http.MethodPut, "/config", bodyRequired, s.putConfig},
	}
}

// reads lists what is answered from memory beside the health checks.
func (s *Server) reads() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/liveness": s.liveness,
		"/patroni":  s.patroni,
		"/cluster":  s.cluster,
		"/history":  s.history,
		"/config":   s.config,
		"/failsafe": s.failsafe,
		"/metrics":  s.metrics,
		"/events":   s.events,

		"/pgkeeper/explain": s.explain,
		"/pgkeeper/lost":    s.lost,
	}
}

// unbuilt are paths that are promised and not built yet; they say so.
var unbuilt = []string{"/pgkeeper/*"}

// routes builds the router.
func (s *Server) routes() chi.Router {
	router := chi.NewRouter()
	for path, c := range s.health {
		for _, method := range readMethods {
			router.MethodFunc(method, path, func(w http.ResponseWriter, r *http.Request) { s.answerHealth(w, r, c) })
		}
	}
	for path, handler := range s.reads() {
		for _, method := range readMethods {
			router.MethodFunc(method, path, handler)
		}
	}
	for _, operation := range s.writes() {
		router.MethodFunc(operation.method, operation.path, s.guarded(operation))
	}
	router.Post("/failsafe", s.askedByPatroni)
	for _, c := range s.peerCalls() {
		router.Post(c.path, s.betweenAgents(c))
	}
	for _, path := range unbuilt {
		for _, method := range append([]string{http.MethodPost}, readMethods...) {
			router.MethodFunc(method, path, func(w http.ResponseWriter, r *http.Request) {
				writeText(w, http.StatusNotImplemented, r.URL.Path+" is not built yet")
			})
		}
	}
	router.NotFound(s.unknownPath)
	router.MethodNotAllowed(s.unknownPath)
	return router
}
