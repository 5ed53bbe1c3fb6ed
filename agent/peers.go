package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/peer"
)

// Peers is what this agent needs to call the cluster's others and to know their
// calls: the peer key, followed as it changes in the store, and the newest term.
type Peers struct {
	store *dcs.Store
	node  *Node
	log   *slog.Logger
	self  peer.Self

	key  atomic.Pointer[dcs.PeerKey]
	term atomic.Int64
	// news is the newest view that asks for something to be done.
	news   chan cluster.View
	client *peer.Client
	// login is what Patroni's members ask for.
	login func() peer.Login
	// seen is this member's own key as the store showed it last.
	seen atomic.Pointer[cluster.Member]
	// dir is where the key is kept for a worker that starts without store; empty for
	// nowhere.
	dir string
}

// peerKeyName is the file of the peer key in the state directory.
const peerKeyName = "peer_key"

// keepIn has the key kept in a directory, and takes the one that is there: the store may
// be away, and what agents promise each other then is signed, with the newest term that
// is known.
func (p *Peers) keepIn(dir string, known cluster.Term) {
	p.dir = dir
	p.term.Store(int64(known))
	secret, err := os.ReadFile(filepath.Join(dir, peerKeyName))
	switch {
	case err == nil:
		key := dcs.KeptPeerKey(secret) // of no revision: the first view has it read from the store
		p.key.Store(&key)
	case !errors.Is(err, fs.ErrNotExist):
		p.log.Warn("kept peer key not read", "error", err.Error())
	}
}

func newPeers(name string, store *dcs.Store, node *Node, transport http.RoundTripper, log *slog.Logger) *Peers {
	p := &Peers{store: store, node: node, log: log, news: make(chan cluster.View, 1), login: func() peer.Login { return peer.Login{} }}
	p.key.Store(&dcs.PeerKey{})
	p.self = peer.Self{Name: name,
		Secret: func() []byte { return p.key.Load().Secret() },
		Term:   func() cluster.Term { return cluster.Term(p.term.Load()) }}
	p.client = peer.NewClient(p.self, transport)
	return p
}

// Verifier judges other agents' calls.
func (p *Peers) Verifier() *peer.Verifier { return peer.NewVerifier(p.self) }

// see takes note of a view. It never waits.
func (p *Peers) see(v cluster.View) {
	for known := p.term.Load(); ; known = p.term.Load() {
		if newest := newestTerm(v); int64(newest) <= known || p.term.CompareAndSwap(known, int64(newest)) {
			break
		}
	}
	if m, ok := v.Members[p.self.Name]; ok {
		p.seen.Store(&m)
	}
	absent := v.PeerKeyRev == 0 && v.HolderIs(p.self.Name)
	if !absent && v.PeerKeyRev == p.key.Load().Revision() {
		return
	}
	select {
	case <-p.news:
	default:
	}
	select {
	case p.news <- v:
	default: // somebody else's view is as good
	}
}

// selfMember is this member as the store showed it last.
func (p *Peers) selfMember() cluster.Member {
	if m := p.seen.Load(); m != nil {
		return *m
	}
	return cluster.Member{Name: p.self.Name}
}

// newestTerm is the newest term a view tells of. The beat of a holder that is gone
// still names its term.
func newestTerm(v cluster.View) cluster.Term {
	var newest cluster.Term
	if v.Leader != nil {
		newest = v.Leader.Term
	}
	if v.Beat != nil {
		newest = max(newest, v.Beat.Term)
	}
	return newest
}

// keep follows the key until ctx ends: it reads one that changed, and writes one
// where there is none and this member holds the lease. What fails is tried again
// with the next view; a holder's beats bring one every second or so.
func (p *Peers) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-p.news:
			if err := p.renew(ctx, v); err != nil && ctx.Err() == nil {
				p.log.Debug("peer key not taken", "error", err.Error())
			}
		}
	}
}

func (p *Peers) renew(ctx context.Context, v cluster.View) error {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	if v.PeerKeyRev == 0 && v.HolderIs(p.self.Name) {
		if err := p.node.withLease(func(l *dcs.Lease) error { return l.PutPeerKey(ctx) }); err != nil {
			return err
		}
		p.log.Info("peer key written", "member", p.self.Name)
	}
	key, err := p.store.PeerKey(ctx)
	if err != nil && key.Revision() == 0 {
		return err
	}
	// One that cannot be read is remembered by its revision: it is not read again.
	if err != nil {
		p.log.Warn("peer key not taken", "error", err.Error())
	}
	p.took(key)
	return nil
}

// took goes by a key from now on, and keeps it.
func (p *Peers) took(key dcs.PeerKey) {
	if secret := key.Secret(); p.dir != "" && len(secret) > 0 && !bytes.Equal(secret, p.key.Load().Secret()) {
		if err := writeDurably(filepath.Join(p.dir, peerKeyName), secret); err != nil { // 0600
			p.log.Warn("peer key not kept", "error", err.Error())
		}
	}
	p.key.Store(&key)
}

// reachLimit bounds one ping of another agent.
const reachLimit = 2 * time.Second

// Reach pings every other member of the view, at once.
func (p *Peers) Reach(ctx context.Context, v cluster.View) []cluster.Reach {
	found := []cluster.Reach{}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if name == p.self.Name {
			continue
		}
		calls.Go(func() {
			r := p.ping(ctx, v.Members[name])
			mu.Lock()
			defer mu.Unlock()
			found = append(found, r)
		})
	}
	calls.Wait()
	slices.SortFunc(found, func(a, b cluster.Reach) int { return bytes.Compare([]byte(a.Member), []byte(b.Member)) })
	return found
}

func (p *Peers) ping(ctx context.Context, m cluster.Member) cluster.Reach {
	r := cluster.Reach{Member: m.Name, URL: m.APIURL}
	if m.Keeper == nil {
		r.Error = "the member is no pgkeeper: it takes no calls between agents"
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	began := clock.Now()
	answer, err := p.client.Post(ctx, m.Name, m.APIURL, "/pgkeeper/ping", nil)
	r.Millis = float64(clock.Now().Sub(began).Microseconds()) / 1000
	var pong cluster.Pong
	switch {
	case err != nil:
		r.Error = err.Error()
	case answer.Code != http.StatusOK:
		r.Error = string(answer.Body)
	case json.Unmarshal(answer.Body, &pong) != nil || pong.Name != m.Name:
		r.Error = fmt.Sprintf("answers as %q", pong.Name)
	default:
		r.OK = true
	}
	return r
}
