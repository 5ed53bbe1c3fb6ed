package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/peer"
)

// questions are those of holders without store, until the loop has answered them.
type questions struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan cluster.FailsafeAnswer
}

// put brings a question to the loop and waits for its answer, or for the end of ctx:
// then the asker hears of no promise, although one may have been made.
func (q *questions) put(ctx context.Context, post func(context.Context, Event), ask cluster.FailsafeAsk) cluster.FailsafeAnswer {
	said := make(chan cluster.FailsafeAnswer, 1)
	q.mu.Lock()
	q.next++
	id := q.next
	if q.waiting == nil {
		q.waiting = map[uint64]chan cluster.FailsafeAnswer{}
	}
	q.waiting[id] = said
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.waiting, id)
		q.mu.Unlock()
	}()
	post(ctx, FailsafeAsked{ID: id, Ask: ask})
	select {
	case a := <-said:
		return a
	case <-ctx.Done():
		return cluster.FailsafeAnswer{Why: "the agent did not answer in time"}
	}
}

func (q *questions) answer(id uint64, a cluster.FailsafeAnswer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if said, ok := q.waiting[id]; ok {
		said <- a // it has room for the one answer
		delete(q.waiting, id)
	}
}

// failsafePath is where agents ask each other, patroniFailsafe where they ask a member
// that runs Patroni.
const (
	failsafePath    = "/pgkeeper/failsafe"
	patroniFailsafe = "/failsafe"
)

// Ask asks the members at once.
func (p *Peers) Ask(ctx context.Context, ask cluster.FailsafeAsk, peers []election.FailsafePeer, heard func(string, cluster.FailsafeAnswer, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	type reply struct {
		name   string
		answer cluster.FailsafeAnswer
		err    error
	}
	replies := make(chan reply, len(peers))
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()
	for _, to := range peers {
		calls.Go(func() {
			r := reply{name: to.Name}
			if to.Keeper {
				r.answer, r.err = p.askKeeper(ctx, ask, to)
			} else {
				r.answer, r.err = p.askPatroni(ctx, ask, to)
			}
			replies <- r
		})
	}
	for range peers {
		select {
		case r := <-replies:
			if heard(r.name, r.answer, r.err) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (p *Peers) askKeeper(ctx context.Context, ask cluster.FailsafeAsk, to election.FailsafePeer) (a cluster.FailsafeAnswer, err error) {
	body, err := json.Marshal(cluster.FailsafeCall{Term: ask.Term, TTL: ask.TTL.Milliseconds()})
	if err != nil {
		return a, err
	}
	answer, err := p.client.Post(ctx, to.Name, to.URL, failsafePath, body)
	if err != nil {
		return a, err
	}
	return verdict(answer), nil
}

// askPatroni asks as a Patroni leader does. What Patroni promises is Patroni's.
func (p *Peers) askPatroni(ctx context.Context, ask cluster.FailsafeAsk, to election.FailsafePeer) (a cluster.FailsafeAnswer, err error) {
	self := p.selfMember()
	body, err := json.Marshal(map[string]any{"name": ask.Name, "conn_url": self.ConnURL, "api_url": self.APIURL, "slots": map[string]int64{}})
	if err != nil {
		return a, err
	}
	answer, err := p.client.Plain(ctx, to.Name, to.URL, patroniFailsafe, body, p.login())
	if err != nil {
		return a, err
	}
	return verdict(answer), nil
}

// verdict is an answer over HTTP.
func verdict(answer peer.Answer) cluster.FailsafeAnswer {
	if answer.Code == http.StatusOK && string(answer.Body) == cluster.FailsafeText { // a page of somebody else at that address is no promise
		return cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted}
	}
	const longest = 200
	return cluster.FailsafeAnswer{Verdict: cluster.FailsafeConflict, Why: fmt.Sprintf("%d: %.*s", answer.Code, longest, answer.Body)}
}
