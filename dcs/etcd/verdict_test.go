package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// three are members a, b and c, led by a, which the case changes.
func three(change func(e *evidence)) evidence {
	e := evidence{wall: noon, endpoints: []string{"http://a", "http://b", "http://c"}, probes: map[string]probe{}}
	for i, endpoint := range e.endpoints {
		e.probes[endpoint] = probe{member: 0xa0 + uint64(i), leader: 0xa0, term: 7, applied: 100, took: time.Duration(i+1) * time.Millisecond}
	}
	change(&e)
	return e
}

func (e *evidence) set(endpoint string, change func(p *probe)) {
	p := e.probes[endpoint]
	change(&p)
	e.probes[endpoint] = p
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(e *evidence)
		want   []string // each line of the verdict holds its words, in this order
	}{
		{"nothing is wrong", func(*evidence) {}, nil},
		{"members that nobody has asked are not judged", func(e *evidence) { clear(e.probes) }, nil},
		{"every member shows the alarm of one", func(e *evidence) {
			for _, endpoint := range e.endpoints {
				e.set(endpoint, func(p *probe) { p.errors = []string{fmt.Sprintf("memberID:%d  alarm:NOSPACE ", 0xa1)} })
			}
		}, []string{"no_space at http://b (member a1): the database is full defrag alarm disarm"}},
		{"an alarm of a member that is none of the configured ones", func(e *evidence) {
			e.set("http://a", func(p *probe) { p.errors = []string{"memberID:255 alarm:CORRUPT "} })
		}, []string{"corrupt at member ff: differs etcdctl member remove"}},
		{"an alarm of a later etcd", func(e *evidence) {
			e.set("http://a", func(p *probe) { p.errors = []string{"memberID:160 alarm:COFFEE"} })
		}, []string{"alarm at http://a (member a0): alarm COFFEE"}},
		{"words that are no alarm", func(e *evidence) { e.set("http://a", func(p *probe) { p.errors = []string{"etcdserver: odd"} }) },
			[]string{"alarm at http://a (member a0): etcdserver: odd"}},
		{"a member without leader", func(e *evidence) { e.set("http://c", func(p *probe) { p.errors = []string{"etcdserver: no leader"} }) },
			[]string{"no_leader at http://c (member a2): majority"}},
		{"a member that is down", func(e *evidence) {
			e.probes["http://b"] = probe{err: status.Error(codes.Unavailable, "connection refused")}
		}, []string{"unreachable at http://b: connection refused start it"}},
		{"a member whose certificate has ended", func(e *evidence) {
			e.probes["http://b"] = probe{err: status.Error(codes.Unavailable, "handshake failed: x509: certificate has expired")}
		}, []string{"certificate at http://b: expired renew"}},
		{"a member that refuses the user", func(e *evidence) {
			e.probes["http://b"] = probe{err: status.Error(codes.Unauthenticated, "etcdserver: invalid auth token")}
		}, []string{"denied at http://b: invalid auth token etcd3.password"}},
		{"a request that was refused", func(e *evidence) { e.refused = map[string]string{"txn": "etcd txn: permission denied"} },
			[]string{"denied at http://a, http://b, http://c: permission denied role get"}},
		{"nobody could be asked", func(e *evidence) { e.failed = errors.New("no route") },
			[]string{"unreachable at http://a, http://b, http://c: no route"}},
		{"a database four fifths full", func(e *evidence) { e.set("http://a", func(p *probe) { p.size, p.quota = 1700<<20, 2048<<20 }) },
			[]string{"nearly_full at http://a (member a0): 1700 MiB of at most 2048 MiB defrag"}},
		{"a database of which the limit is not known", func(e *evidence) { e.set("http://a", func(p *probe) { p.size = 1 << 40 }) }, nil},
		{"slow writes", func(e *evidence) { e.slow, e.median = true, 412*time.Millisecond },
			[]string{"slow_writes 412ms 1ms is the way to a member fsync disk of its own"}},
		{"four terms are no flapping", func(e *evidence) { e.terms = flappingTerms - 1 }, nil},
		{"five terms are", func(e *evidence) { e.terms = flappingTerms }, []string{"leader_flapping 5 terms within 10 minutes --election-timeout"}},
		{"a member's certificate that ends in 13 days", func(e *evidence) {
			e.set("http://b", func(p *probe) { p.certificate = noon.Add(13 * 24 * time.Hour) })
		}, []string{"certificate at http://b (member a1): ends on 2026-12-11 12:00 UTC renew"}},
		{"one that ends in 15", func(e *evidence) {
			e.set("http://b", func(p *probe) { p.certificate = noon.Add(15 * 24 * time.Hour) })
		}, nil},
		{"the agent's own that ended yesterday", func(e *evidence) { e.client = noon.Add(-24 * time.Hour) },
			[]string{"certificate: etcd3.cert ended on 2026-11-27 12:00 UTC"}},
		{"without a clock no certificate is judged", func(e *evidence) { e.wall, e.client = time.Time{}, noon }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := three(c.change).troubles()
			if len(got) != len(c.want) {
				t.Fatalf("%d troubles, want %d: %v", len(got), len(c.want), got)
			}
			for i, trouble := range got {
				rest := trouble.String()
				for word := range strings.FieldsSeq(c.want[i]) {
					at := strings.Index(rest, word)
					if at < 0 {
						t.Fatalf("%q lacks %q in its place", trouble, word)
					}
					rest = rest[at+len(word):]
				}
				if trouble.Advice == "" || trouble.Detail == "" {
					t.Errorf("%+v does not say what is wrong and what to do", trouble)
				}
			}
		})
	}
}

const second = cluster.Instant(time.Second)

// writes are n own writes of that duration, one a second, that end at now.
func writes(h *health, now cluster.Instant, n int, took time.Duration) {
	for i := range n {
		h.ended("txn", now-cluster.Instant(n-i)*second, took, nil)
	}
}

func TestWritesAreSlowByTheirMedianAndUntilTheyAreClearlyFaster(t *testing.T) {
	now := 1000 * second
	k := &KV{options: Options{Now: func() cluster.Instant { return now }}, health: newHealth()}
	slow := func() bool { return k.evidence().slow }
	writes(k.health, now, writesLeast-1, time.Second)
	if slow() {
		t.Error("slow by too few writes")
	}
	writes(k.health, now, writesKept, 20*time.Millisecond)
	writes(k.health, now, writesKept/2, 3*time.Second)
	if slow() {
		t.Error("slow although most were fast")
	}
	writes(k.health, now, writesKept, slowWrite)
	if !slow() {
		t.Error("not slow although all were")
	}
	writes(k.health, now, writesKept, slowWrite-time.Millisecond)
	if !slow() {
		t.Error("no longer slow by a millisecond: it would come and go")
	}
	now += cluster.Instant(writesAge) + second
	if slow() {
		t.Error("slow by writes of long ago")
	}
	writes(k.health, now, writesKept, fastWrite-time.Millisecond)
	if slow() {
		t.Error("slow although all are fast again")
	}
}

func TestWhatFailsOrIsSlowAsksForALook(t *testing.T) {
	for _, c := range []struct {
		name string
		took time.Duration
		err  error
		want bool
	}{
		{"a quick success", time.Millisecond, nil, false},
		{"a slow one", alarmingRequest, nil, true},
		{"a failure", time.Millisecond, dcs.ErrUnavailable, true},
		{"no answer", time.Millisecond, dcs.ErrUnknownOutcome, true},
		{"a refused comparison", time.Millisecond, dcs.ErrCompared, false},
		{"a lease that is gone", time.Millisecond, dcs.ErrLeaseGone, false},
		{"nobody waits any more", time.Millisecond, fmt.Errorf("%w: %w", dcs.ErrUnknownOutcome, context.Canceled), false},
	} {
		h := newHealth()
		h.ended("txn", second, c.took, c.err)
		h.ended("txn", second, c.took, c.err) // never waits for who listens
		if got := len(h.alarmed) == 1; got != c.want {
			t.Errorf("%s: asks %v, want %v", c.name, got, c.want)
		}
	}
}

func TestARefusalLastsUntilTheSameRequestSucceeds(t *testing.T) {
	h := newHealth()
	h.ended("txn", second, 0, fmt.Errorf("etcd txn: %w", dcs.ErrDenied))
	h.ended("range", second, 0, nil)
	if len(h.refused) != 1 {
		t.Errorf("refused are %v, want the write", h.refused)
	}
	h.ended("txn", second, 0, nil)
	if len(h.refused) != 0 {
		t.Errorf("refused are %v after it succeeded", h.refused)
	}
}

func TestTermsAreCountedFromWhatAnswersSay(t *testing.T) {
	now := 1000 * second
	k := &KV{options: Options{Now: func() cluster.Instant { return now }}, health: newHealth()}
	k.terms.elected = func(known, term uint64) { k.health.newTerm(now, known, term) }
	for _, term := range []uint64{7, 7, 8, 6, 11} {
		k.terms.heard(header(term))
	}
	if e := k.evidence(); e.terms != 4 || e.elected != 4 {
		t.Errorf("%d terms lately, %d ever; want 4 after the first", e.terms, e.elected)
	}
	k.terms.forget()
	k.terms.heard(header(3)) // another etcd: not an election
	now += cluster.Instant(flappingAge) + second
	if e := k.evidence(); e.terms != 0 || e.elected != 4 {
		t.Errorf("%d terms lately, %d ever; want 0 and 4 when they are long ago", e.terms, e.elected)
	}
}

func TestATroubleKeepsTheWordsItBeganWith(t *testing.T) {
	old := []cluster.StoreTrouble{{Kind: cluster.StoreSlowWrites, Endpoint: "a", Detail: "300ms"}, {Kind: cluster.StoreUnreachable, Endpoint: "a"}}
	now := keepWords(old, []cluster.StoreTrouble{{Kind: cluster.StoreSlowWrites, Endpoint: "a", Detail: "310ms"}, {Kind: cluster.StoreUnreachable, Endpoint: "b"}})
	if now[0].Detail != "300ms" || now[1].Endpoint != "b" {
		t.Errorf("got %v", now)
	}
}

func TestOnlyTheNextMemberAndThoseInTroubleAreAsked(t *testing.T) {
	h := newHealth()
	keepers := []*keeper{{endpoint: "a"}, {endpoint: "b"}, {endpoint: "c"}}
	asked := func(all bool) (names string) {
		for _, k := range h.due(keepers, all) {
			names += k.endpoint
		}
		return names
	}
	if got := asked(true); got != "abc" {
		t.Errorf("all are %q", got)
	}
	if got := asked(false) + asked(false) + asked(false); len(got) != 3 || !strings.Contains(got, "a") || !strings.Contains(got, "b") || !strings.Contains(got, "c") {
		t.Errorf("in turn: %q, want each once", got)
	}
	h.probes["b"] = probe{err: errors.New("down")}
	for range 3 {
		if got := asked(false); !strings.Contains(got, "b") || len(got) > 2 {
			t.Errorf("asked %q, want the next and b", got)
		}
	}
}

func TestTheNextLeaderIsOnAnotherMachineUpToDateAndNear(t *testing.T) {
	k := &KV{options: Options{Local: func(endpoint string) bool { return endpoint == "http://a" }}}
	for _, c := range []struct {
		name   string
		change func(e *evidence)
		want   string
	}{
		{"the quicker of two", func(*evidence) {}, "http://b"},
		{"not a learner", func(e *evidence) { e.set("http://b", func(p *probe) { p.learner = true }) }, "http://c"},
		{"not one that is down", func(e *evidence) { e.set("http://b", func(p *probe) { p.err = errors.New("down") }) }, "http://c"},
		{"not one that lags", func(e *evidence) { e.set("http://a", func(p *probe) { p.applied = nearby + 101 }) }, ""},
		{"not one that nobody asked", func(e *evidence) { delete(e.probes, "http://b"); delete(e.probes, "http://c") }, ""},
	} {
		if got := k.successor(t.Context(), three(c.change), "http://a"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	stale := three(func(e *evidence) { e.set("http://c", func(p *probe) { p.term, p.leader = 6, 0xa2 }) })
	if got := stale.leading(); got != "http://a" {
		t.Errorf("the leader is %q by a member that missed an election", got)
	}
}

func header(term uint64) *pb.ResponseHeader { return &pb.ResponseHeader{RaftTerm: term} }
