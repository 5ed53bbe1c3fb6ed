package restapi

import (
	"net/http"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// patroni answers 200 always: it describes, it does not judge.
func (s *Server) patroni(w http.ResponseWriter, _ *http.Request) {
	s.writeStatus(w, http.StatusOK, s.facts())
}

// history answers the promotions of the cluster.
func (s *Server) history(w http.ResponseWriter, _ *http.Request) {
	lines := s.facts().View.Value.History
	if lines == nil {
		lines = cluster.History{}
	}
	writeJSON(w, http.StatusOK, lines)
}

// config answers the dynamic configuration as stored.
func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	f := s.facts()
	raw := f.ConfigRaw
	if stored := f.View.Value.Config; stored != nil && len(stored.Raw) > 0 {
		raw = stored.Raw
	}
	if len(raw) == 0 {
		writeText(w, http.StatusBadGateway, "the dynamic configuration is not known yet"+because(f.View.Err))
		return
	}
	writeJSON(w, http.StatusOK, raw)
}

// explain answers why the node does what it does, in words.
func (s *Server) explain(w http.ResponseWriter, _ *http.Request) {
	if s.options.Explain != nil {
		if e := s.options.Explain(); e != nil {
			writeJSON(w, http.StatusOK, e)
			return
		}
	}
	writeText(w, http.StatusServiceUnavailable, "the agent has decided nothing yet: it has just started")
}

// metrics hands over to the injected handler.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	if s.options.Metrics == nil {
		writeText(w, http.StatusNotImplemented, "/metrics is not served by this process")
		return
	}
	s.options.Metrics.ServeHTTP(w, r)
}

// because appends a reason when there is one.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
