package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Overlap is when more than one server acknowledged writes. Seconds.
type Overlap struct {
	// Overlap is the time during which two servers both acknowledged writes.
	Overlap float64 `json:"overlap"`
	// Writable is, for every host, the spans in which it acknowledged writes, from the moment asked about.
	Writable map[string][]Span `json:"writable"`
}

// Span is from the first to the last acknowledgement.
type Span struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Acks int     `json:"acks"`
}

// silence ends a span: a server that acknowledged nothing for so long was not writable in between. No cluster moves a
// primary to another server and back in less.
const silence = 500 * time.Millisecond

// probes is one prober for every host.
type probes struct {
	insert string
	runID  int64
	every  time.Duration
	next   atomic.Int64
	hosts  []*probe
}

type probe struct {
	config *pgx.ConnConfig
	name   string
	mu     sync.Mutex
	acks   []ack
}

func newProbes(dsn, insert string, run int64, j *journal) (*probes, error) {
	config, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	p := &probes{insert: insert, runID: run, every: j.every}
	for _, own := range eachHost(config) { // each must not care what kind of server it is
		own.ValidateConnect = nil
		own.RuntimeParams["log_min_messages"] = "panic" // hundreds of refusals a second belong in no log
		p.hosts = append(p.hosts, &probe{config: own, name: net.JoinHostPort(own.Host, strconv.Itoa(int(own.Port)))})
	}
	if len(p.hosts) < 2 {
		return nil, fmt.Errorf("-each wants several hosts, the connection string has %d", len(p.hosts))
	}
	return p, nil
}

func (p *probes) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, h := range p.hosts {
		all.Go(func() { p.probe(ctx, h) })
	}
	all.Wait()
}

// probe writes to one host until ctx ends. A refusal because the server is read-only keeps the connection.
func (p *probes) probe(ctx context.Context, h *probe) {
	var conn *pgx.Conn
	for due := time.Now(); sleepUntil(ctx, due); due = later(due, p.every) {
		if conn == nil || conn.IsClosed() {
			fresh, err := pgx.ConnectConfig(ctx, h.config)
			if err != nil {
				continue
			}
			conn = fresh
		}
		sent := time.Now()
		_, err := conn.Exec(ctx, p.insert, p.runID, p.next.Add(1))
		if err == nil {
			h.acked(ack{due: due, sent: sent, at: time.Now()})
			continue
		}
		if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) && refused.Code == readOnly {
			continue
		}
		_ = conn.Close(ctx)
	}
	if conn != nil {
		_ = conn.Close(context.Background()) //nolint:usetesting // a program
	}
}

// readOnly is read_only_sql_transaction.
const readOnly = "25006"

// later is the next time something is due; what was missed is not made up for.
func later(due time.Time, every time.Duration) time.Time {
	if next := due.Add(every); next.After(time.Now()) {
		return next
	}
	return time.Now()
}

func (h *probe) acked(a ack) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = append(h.acks, a)
}

func (p *probes) report(since time.Time) any {
	o := Overlap{Writable: map[string][]Span{}}
	for _, h := range p.hosts {
		h.mu.Lock()
		o.Writable[h.name] = spans(h.acks, since)
		h.mu.Unlock()
	}
	o.Overlap = overlap(o.Writable)
	return o
}

func (p *probes) verify(context.Context) (any, error) {
	return nil, errors.New("rows written to every host are not promised to anybody")
}

// spans joins acknowledgements that are no silence apart.
func spans(acks []ack, since time.Time) []Span {
	var all []Span
	for _, a := range acks {
		at := a.at.Sub(since).Seconds()
		switch {
		case at < 0:
		case len(all) > 0 && at-all[len(all)-1].To < silence.Seconds():
			all[len(all)-1].To = at
			all[len(all)-1].Acks++
		default:
			all = append(all, Span{From: at, To: at, Acks: 1})
		}
	}
	return all
}

// overlap is the time that lies in spans of two hosts, pair by pair.
func overlap(writable map[string][]Span) float64 {
	var total float64
	for a, first := range writable {
		for b, second := range writable {
			if a >= b {
				continue
			}
			for _, x := range first {
				for _, y := range second {
					total += max(0, min(x.To, y.To)-max(x.From, y.From))
				}
			}
		}
	}
	return total
}
