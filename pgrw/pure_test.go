package pgrw

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestTokensSurviveTheirText(t *testing.T) {
	for _, token := range []Token{{}, {7, 1, 0x2000}, {math.MaxUint64, math.MaxUint32, math.MaxUint64}, {0, 3, 1}} {
		text, _ := token.MarshalText()
		var back Token
		if err := back.UnmarshalText(text); err != nil || back != token {
			t.Errorf("%v came back as %v: %v", token, back, err)
		}
	}
	for _, bad := range []string{"x", "1-7-1", "2-7-1-2000", "1-7-0-2000", "1-7-1-0", "1-7-1-20000000000000000", "1--1-2", strings.Repeat("1", 5000)} {
		if token, err := ParseToken(bad); err == nil {
			t.Errorf("%.20q was read as %v", bad, token)
		}
	}
}

func TestTheLaterTokenDemandsMore(t *testing.T) {
	a, b, c, other := Token{7, 1, 100}, Token{7, 1, 200}, Token{7, 2, 50}, Token{8, 1, 1}
	for _, pair := range []struct{ a, b, want Token }{
		{a, b, b}, {b, a, b}, {b, c, c}, {c, b, c}, {Token{}, a, a}, {a, Token{}, a}, {c, other, other}, {a, a, a}, {Token{0, 2, 1}, b, Token{0, 2, 1}},
	} {
		if got := pair.a.Later(pair.b); got != pair.want {
			t.Errorf("%v.Later(%v) is %v, want %v", pair.a, pair.b, got, pair.want)
		}
	}
}

func TestAnInsertPositionBehindAPageHeaderIsThatBeforeIt(t *testing.T) {
	for insert, want := range map[LSN]LSN{8192 + 24: 8192, 8192 + 32: 8192 + 32, 8192: 8192, 40: 40} {
		if got := settled(insert); got != want {
			t.Errorf("%v is settled as %v, want %v", insert, got, want)
		}
	}
}

func TestWhatAConnectionProvesOfAToken(t *testing.T) {
	ends := map[uint32]LSN{1: 1000}
	token := Token{7, 1, 900}
	for name, c := range map[string]struct {
		m    connMeta
		t    Token
		want verdict
	}{
		"a standby at the position":                {connMeta{true, 7, 1, 900}, token, satisfied},
		"a standby before it":                      {connMeta{true, 7, 1, 899}, token, behind},
		"a standby that proves no timeline":        {connMeta{true, 7, 0, 9000}, token, unproven},
		"a greater number on an earlier timeline":  {connMeta{true, 7, 1, 9000}, Token{7, 2, 900}, unproven},
		"a smaller number on an earlier timeline":  {connMeta{true, 7, 1, 800}, Token{7, 2, 900}, behind},
		"a later timeline that holds it":           {connMeta{true, 7, 2, 900}, token, satisfied},
		"a later timeline that will":               {connMeta{true, 7, 2, 899}, token, behind},
		"a later timeline that left it behind":     {connMeta{true, 7, 2, 9000}, Token{7, 1, 1001}, gone},
		"a later timeline with an unknown history": {connMeta{true, 7, 3, 9000}, Token{7, 2, 100}, unproven},
		"the primary of its timeline":              {connMeta{false, 7, 1, 900}, token, satisfied},
		"a primary of a later one":                 {connMeta{false, 7, 3, 10}, Token{7, 2, 900}, satisfied},
		"a primary of an earlier one":              {connMeta{false, 7, 1, 9000}, Token{7, 2, 900}, behind},
		"another cluster":                          {connMeta{true, 8, 1, 900}, token, foreign},
		"a cluster that does not say which":        {connMeta{true, 0, 1, 900}, token, satisfied},
	} {
		if got := c.m.judge(c.t, ends); got != c.want {
			t.Errorf("%s: verdict %d, want %d", name, got, c.want)
		}
	}
}

func TestStalenessIsCountedFromWhenThePrimaryWasThere(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var k track
	for s, lsn := range []LSN{100, 200, 200, 300} {
		k.add(at(s), lsn)
	}
	for replayed, want := range map[LSN]time.Duration{300: 7 * time.Second, 299: 8 * time.Second, 200: 8 * time.Second, 150: 10 * time.Second, 99: -1} {
		if got := k.staleness(at(10), replayed); got != want {
			t.Errorf("at %v everything older than %v is there, want %v", replayed, got, want)
		}
	}
	k.add(at(11), 250) // another timeline
	if got := k.staleness(at(11), 240); got >= 0 {
		t.Errorf("%v was known across a change of the timeline", got)
	}
	for s := range 3 * samplesKept {
		k.add(at(20+s), LSN(1000+s))
	}
	if len(k.samples) > samplesKept || k.end() != 1000+3*samplesKept-1 {
		t.Errorf("%d samples are kept, the end is %v", len(k.samples), k.end())
	}
}

// picks counts what a balancer takes of four nodes.
func picks(b Balancer, change func(i int, n *Node)) [4]int {
	nodes, taken := make([]Node, 4), [4]int{}
	for i := range nodes {
		nodes[i].Latency = time.Millisecond
		change(i, &nodes[i])
	}
	for range 10_000 {
		taken[b.Pick(nodes)]++
	}
	return taken
}

// chiSquare sums the squared distances from what was to be expected; with three degrees
// of freedom 30 is passed by chance once in a million.
func chiSquare(taken [4]int, shares [4]float64) float64 {
	sum := 0.0
	for i, n := range taken {
		want := shares[i] * 10_000
		if want == 0 {
			if n > 0 {
				return math.Inf(1)
			}
			continue
		}
		sum += (float64(n) - want) * (float64(n) - want) / want
	}
	return sum
}

func TestBalancersShareAsTheySay(t *testing.T) {
	even := [4]float64{0.25, 0.25, 0.25, 0.25}
	nothing := func(int, *Node) {}
	weight := func(n Node) int { return int(n.InFlight) }
	for name, c := range map[string]struct {
		Balancer
		change func(int, *Node)
		shares [4]float64
	}{
		"round robin":                 {RoundRobin(), nothing, even},
		"random":                      {Random(), nothing, even},
		"two choices among equals":    {PowerOfTwo(), nothing, even},
		"least lag among equals":      {LeastLag(), nothing, even},
		"weighted":                    {Weighted(weight), func(i int, n *Node) { n.InFlight = int64(i) }, [4]float64{0, 1. / 6, 2. / 6, 3. / 6}},
		"weighted, nobody has any":    {Weighted(weight), nothing, even},
		"least lag":                   {LeastLag(), func(i int, n *Node) { n.LSN = LSN(i) }, [4]float64{0, 0, 0, 1}},
		"two choices avoid the slow":  {PowerOfTwo(), func(i int, n *Node) { n.Latency += time.Duration(i) * time.Millisecond }, [4]float64{6. / 12, 4. / 12, 2. / 12, 0}},
		"two choices avoid the laden": {PowerOfTwo(), func(i int, n *Node) { n.InFlight = int64(3 - i) }, [4]float64{0, 2. / 12, 4. / 12, 6. / 12}},
	} {
		if taken := picks(c.Balancer, c.change); chiSquare(taken, c.shares) > 30 {
			t.Errorf("%s took %v, expected shares %.2f", name, taken, c.shares)
		}
	}
}
