package restapi

import (
	"net/http"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// check is one health check.
type check struct {
	// passes judges the node; ask is the zero value unless the check filters.
	passes func(facts, question) bool
	// filters: the query may narrow the check. Where it is false the query is
	// ignored, as on Patroni's primary and leader paths.
	filters bool
	// bare: the answer has no body, as Patroni's probes have none.
	bare bool
}

// healthChecks lists every health path.
func healthChecks() map[string]check {
	primary := check{passes: func(f facts, _ question) bool { return f.primary() }}
	standbyLeader := check{passes: func(f facts, _ question) bool { return f.standbyLeader() }}
	synchronous := check{passes: isSynchronous, filters: true}
	asynchronous := check{passes: isAsynchronous, filters: true}
	readOnlySync := check{passes: orPrimary(isSynchronous), filters: true}
	return map[string]check{
		"/":                      primary,
		"/primary":               primary,
		"/read-write":            primary,
		"/master":                primary,
		"/leader":                {passes: func(f facts, _ question) bool { return f.Holds(f.now) }},
		"/standby-leader":        standbyLeader,
		"/standby_leader":        standbyLeader,
		"/replica":               {passes: isReplica, filters: true},
		"/read-only":             {passes: isReadable, filters: true},
		"/synchronous":           synchronous,
		"/sync":                  synchronous,
		"/asynchronous":          asynchronous,
		"/async":                 asynchronous,
		"/quorum":                {passes: isQuorum, filters: true},
		"/read-only-sync":        readOnlySync,
		"/read-only-synchronous": readOnlySync,
		"/read-only-quorum":      {passes: orPrimary(isQuorum), filters: true},
		"/health":                {passes: func(f facts, q question) bool { return f.running() && q.matches(f.Tags) }, filters: true},
		"/readiness":             {passes: isReady, filters: true, bare: true},
	}
}

// answerHealth answers 200 or 503, with the status JSON on GET.
func (s *Server) answerHealth(w http.ResponseWriter, r *http.Request, c check) {
	f := s.facts()
	var q question
	if c.filters && r.URL.RawQuery != "" {
		var err error
		if q, err = parseQuestion(r.URL.RawQuery); err != nil {
			writeText(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	if q.asksForLag() && s.options.Progress != nil {
		f.quick = s.options.Progress()
	}
	code := http.StatusServiceUnavailable
	if c.passes(f, q) {
		code = http.StatusOK
	}
	if r.Method != http.MethodGet || c.bare {
		w.WriteHeader(code)
		return
	}
	s.writeStatus(w, code, f)
}

// isReplica: a running standby that may be balanced to, with little enough lag
// and the tags asked for. The leader of a standby cluster is none.
func isReplica(f facts, q question) bool {
	if !f.standby() || f.Role == cluster.RoleStandbyLeader || f.Tags.Bool("noloadbalance") {
		return false
	}
	if q.replicationState != "" && q.replicationState != f.replicationState() {
		return false
	}
	return q.lagAllows(f, f.replayed()) && q.matches(f.Tags)
}

// isReadable: whoever can answer reads.
func isReadable(f facts, q question) bool {
	return (f.primary() || f.standbyLeader()) && q.matches(f.Tags) || isReplica(f, q)
}

func isSynchronous(f facts, q question) bool {
	return f.viewFresh() && !f.quorumMode() && f.synchronous(f.Name) && isReplica(f, q)
}

func isQuorum(f facts, q question) bool {
	return f.viewFresh() && f.quorumMode() && f.synchronous(f.Name) && isReplica(f, q)
}

func isAsynchronous(f facts, q question) bool {
	return f.viewFresh() && !f.synchronous(f.Name) && isReplica(f, q)
}

// orPrimary widens a check to the primary.
func orPrimary(standby func(facts, question) bool) func(facts, question) bool {
	return func(f facts, q question) bool { return f.primary() && q.matches(f.Tags) || standby(f, q) }
}

// isReady: usable as what it is. A standby must stream and lag no more than
// asked, or than maximum_lag_on_failover when nothing was asked. Where that is asked for,
// the pooler beside it must let work through: it does not in a switchover, nor when its
// agent cannot reach it.
func isReady(f facts, q question) bool {
	if q.pooler && f.Pooler != cluster.PoolerServing {
		return false
	}
	if f.primary() || f.standbyLeader() {
		return true
	}
	if !f.streaming() || !f.viewFresh() {
		return false
	}
	if !q.lagGiven {
		q.lag, q.lagGiven = uint64(max(0, f.Settings.MaximumLagOnFailover)), f.Settings.MaximumLagOnFailover >= 0
	}
	if q.mode == "write" {
		return q.lagAllows(f, f.received())
	}
	return q.lagAllows(f, f.replayed())
}

// liveness answers whether the agent's loop still steps, without any look at the
// server: 200 in pause, and until its next step is overdue by ttl on a running
// primary, twice that elsewhere.
func (s *Server) liveness(w http.ResponseWriter, _ *http.Request) {
	f := s.facts()
	code := http.StatusServiceUnavailable
	if s.alive(f) {
		code = http.StatusOK
	}
	w.WriteHeader(code)
}

func (s *Server) alive(f facts) bool {
	last := f.LoopAt
	if last.Never() {
		last = s.started
	}
	patience := 2 * f.ttl()
	if f.Node.Value.Mode == cluster.ModePrimary {
		patience = f.ttl()
	}
	return f.Settings.Pause || f.now.Sub(last) <= f.loopWait()+patience
}

// unknownPath is what Patroni answers to a GET of a path it does not know: 503
// with the status. Other methods are not implemented there.
func (s *Server) unknownPath(w http.ResponseWriter, r *http.Request) {
	if !isRead(r.Method) {
		writeText(w, http.StatusNotImplemented, r.Method+" is not supported on "+quotePath(r.URL.Path))
		return
	}
	s.answerHealth(w, r, check{passes: func(facts, question) bool { return false }})
}

// milliseconds is a duration in whole milliseconds.
func milliseconds(d time.Duration) int64 { return d.Milliseconds() }
