package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Result is what was measured. Times are seconds.
type Result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	Max      float64 `json:"max"`
	// Status counts answers by status code.
	Status map[int]int `json:"status"`
	// Reconnects is how often the server had closed.
	Reconnects int `json:"reconnects"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:8008", "IPv4 address and port of the server")
	path := flag.String("path", "/primary", "what to ask for")
	conns := flag.Int("conns", 16, "connections")
	rate := flag.Float64("rate", 0, "requests a second; 0 is as many as the connections manage")
	warm := flag.Duration("warm", time.Second, "not counted, at the start")
	length := flag.Duration("duration", 10*time.Second, "how long to count")
	flag.Parse()

	to, err := netip.ParseAddrPort(*addr)
	if err != nil || !to.Addr().Is4() {
		return fmt.Errorf("-addr %s: want an IPv4 address and a port", *addr)
	}
	g, err := newGenerator(to, *path, *conns, *rate)
	if err != nil {
		return err
	}
	defer g.close()
	if err := g.run(*warm); err != nil {
		return err
	}
	g.reset()
	begin := time.Now()
	if err := g.run(*length); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(g.result(time.Since(begin)))
}

func (g *generator) result(took time.Duration) Result {
	slices.Sort(g.times)
	at := func(q float64) float64 {
		if len(g.times) == 0 {
			return 0
		}
		return g.times[min(int(q*float64(len(g.times))), len(g.times)-1)].Seconds()
	}
	return Result{Requests: len(g.times), Errors: g.errors, Seconds: took.Seconds(), Rate: float64(len(g.times)) / took.Seconds(),
		P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: at(1), Status: g.status, Reconnects: g.reconnects}
}
