package restapi

import (
	"net/http"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// lost answers what this member had and the cluster's history has not: WAL that
// its rejoins abandoned, newest first. Counts and names, never a row.
func (s *Server) lost(w http.ResponseWriter, _ *http.Request) {
	list := []cluster.Lost{}
	if s.options.Lost != nil {
		list = append(list, s.options.Lost()...)
	}
	writeJSON(w, http.StatusOK, list)
}
