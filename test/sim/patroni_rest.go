package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/restapi"
)

// get is GET /patroni of a member. Agents answer with the product's own handler, from
// memory, Patroni by asking its server. A machine that is up and runs neither refuses at
// once, and what is frozen, cut off or without power says nothing.
func (w *World) get(from *Node, name string, heard func(restAnswer)) {
	to := w.named(name)
	if to == nil || !to.up || w.chance(from.calls.loseCall) || w.chance(to.calls.loseAnswer) {
		return
	}
	there := 200*time.Microsecond + w.jitter(4*time.Millisecond)
	if w.chance(from.calls.late) || w.chance(to.calls.late) {
		there += w.jitter(2 * time.Second)
	}
	back := func(a restAnswer) {
		a.name = name
		w.after(200*time.Microsecond+w.jitter(time.Millisecond), doing(func() {
			if from.patroni != nil && w.talk(from.i, to.i) {
				from.patroni.process.run(doing(func() { heard(a) }))
			}
		}))
	}
	w.after(there, doing(func() {
		switch k, p := to.worker, to.patroni; {
		case !to.up || !w.talk(from.i, to.i):
		case k != nil && !k.over:
			k.run(doing(func() { back(k.rest()) }))
		case p != nil:
			p.process.run(doing(func() { p.answer(back) }))
		default:
			back(restAnswer{})
		}
	}))
}

// answer is Patroni's: it asks its server, and says nothing of positions if that is down.
func (p *patroni) answer(back func(restAnswer)) {
	n := p.n
	a := restAnswer{nofailover: n.tags.NoFailover(), priority: n.tags.FailoverPriority()}
	switch {
	case n.pg.Frozen():
		return
	case n.pg.Mode().Running():
		a.reached, a.primary = true, n.pg.Mode() == cluster.ModePrimary
		if f, err := n.pg.LookFast(n.w.serverNow()); err == nil {
			a.has = max(f.Receive, f.Replay, f.Flush)
		}
	}
	back(a)
}

// rest asks the agent's REST API.
func (k *worker) rest() (a restAnswer) {
	if k.api == nil {
		api, err := restapi.New(restapi.Options{Status: k.shown, Now: k.n.instant, Wall: k.n.wall})
		if err != nil {
			return a
		}
		k.api = api
	}
	var page page200
	q, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+k.n.name+":8008/patroni", http.NoBody)
	if err != nil {
		return a
	}
	k.api.ServeHTTP(&page, q)
	var said struct {
		Role      cluster.Role   `json:"role"`
		Tags      cluster.Tags   `json:"tags"`
		Positions map[string]any `json:"xlog"`
		Failed    bool           `json:"watchdog_failed"`
	}
	if json.Unmarshal(page.Bytes(), &said) != nil || said.Positions == nil {
		return a
	}
	at := func(key string) cluster.LSN {
		n, _ := said.Positions[key].(float64)
		return cluster.LSN(n)
	}
	_, writes := said.Positions["location"]
	return restAnswer{reached: true, primary: writes || said.Role == cluster.RolePrimary, nofailover: said.Tags.NoFailover(), limited: said.Failed,
		has: max(at("location"), at("received_location"), at("replayed_location")), priority: said.Tags.FailoverPriority()}
}

// shown is the state as a value of its own, which the API keeps what it renders by.
func (k *worker) shown() *cluster.Status {
	s := k.state()
	if s == nil {
		return nil
	}
	own := *s
	return &own
}

// page200 is the body of an answer; nobody looks at the rest.
type page200 struct{ bytes.Buffer }

// Header implements http.ResponseWriter.
func (*page200) Header() http.Header { return http.Header{} }

// WriteHeader implements http.ResponseWriter.
func (*page200) WriteHeader(int) {}
