package main

import (
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
)

const (
	// countFor is how long requests are counted before processors are taken away again.
	countFor = 10 * time.Second
	// busyAt is how many requests in that time are a lot: more than the checks of a few load balancers.
	busyAt = 1000
)

// processors decides on how many of the machine's processors a worker's Go code runs: on one, or on all while
// clients ask a lot.
//
// A worker sleeps nearly always. With several processors each of its some hundred wake-ups a second has the runtime wake
// another thread, which looks for work and finds none: a quarter of what an idle worker used. With one, thousands of
// requests a second are answered later than they need be.
type processors struct {
	next  http.Handler
	asked atomic.Int64
}

// ServeHTTP counts a request and passes it on.
func (p *processors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.asked.Add(1) == busyAt {
		runtime.SetDefaultGOMAXPROCS()
	}
	p.next.ServeHTTP(w, r)
}

// keepFew takes processors away while little is asked, until done is closed.
func (p *processors) keepFew(done <-chan struct{}) {
	for {
		if p.asked.Swap(0) < busyAt {
			runtime.GOMAXPROCS(1)
		}
		if !clock.Sleep(done, countFor) {
			return
		}
	}
}

// fewProcessors is next on as few processors as do. Whoever sets GOMAXPROCS has decided.
func fewProcessors(next http.Handler, done <-chan struct{}) http.Handler {
	if os.Getenv("GOMAXPROCS") != "" {
		return next
	}
	p := &processors{next: next}
	go p.keepFew(done)
	return p
}
