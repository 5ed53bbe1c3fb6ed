//go:build chaos

package chaos

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// past is a history told step by step: every operation takes 10 ms, one after the
// other, unless it says otherwise.
type past struct {
	*history
	at instant
}

func tell() *past { return &past{history: newHistory()} }

func (p *past) write(tl int32, survived bool) *operation {
	p.at += 20 * time.Millisecond
	op := p.begin(register, 1)
	op.node, op.tl, op.lsn = fmt.Sprintf("pg%d", tl), tl, int64(op.id)*100
	op.call, op.ret, op.outcome, op.survived = p.at, p.at+10*time.Millisecond, acked, survived
	return op
}

func (p *past) read(tl int32, seen ...int64) *operation {
	op := p.write(tl, false)
	op.read, op.seen = true, seen
	return op
}

func TestTheModelOfARegisterThatAFailoverMaySetBack(t *testing.T) {
	for name, c := range map[string]struct {
		tell func(p *past)
		ok   bool
	}{
		"reads see the last write": {func(p *past) { p.write(1, true); p.read(1, 1); p.write(1, true); p.read(1, 3) }, true},
		"a read of an old value":   {func(p *past) { p.write(1, true); p.write(1, true); p.read(1, 1) }, false},
		"a read of nothing":        {func(p *past) { p.write(1, true); p.read(1) }, false},
		"a failover sets back":     {func(p *past) { p.write(1, true); p.write(1, false); p.read(1, 2); p.read(2, 1) }, true},
		"within a term nothing is set back": {
			func(p *past) { p.write(1, true); p.write(1, false); p.read(1, 1) }, false},
		"what survived is not set back": {func(p *past) { p.write(1, true); p.write(1, true); p.read(2, 1) }, false},
		"a lost write comes back":       {func(p *past) { p.write(1, true); p.write(1, false); p.read(2, 2) }, false},
		"a survivor behind a lost one":  {func(p *past) { p.write(1, false); p.write(1, true) }, false},
		"an older term writes again":    {func(p *past) { p.write(1, true); p.write(2, true); p.write(1, true) }, false},
		"an older term may still be read": {
			func(p *past) { p.write(1, true); p.write(2, true); p.read(1, 1); p.read(2, 2) }, true},
		"nor need the newer one have written": {
			func(p *past) {
				p.write(1, true)
				p.write(1, false).outcome = unknown
				p.read(2, 1)
				p.read(1, 2)
				p.read(2, 1)
			}, true},
		"a write of an older term behind a read of a newer one": {
			func(p *past) { p.write(1, true); p.read(2, 1); p.write(1, true) }, false},
		"an unknown write that was seen": {
			func(p *past) { p.write(1, true); p.write(1, false).outcome = unknown; p.read(1, 2); p.read(2, 1) }, true},
		"an unknown write takes effect late": {
			func(p *past) { p.write(1, true).outcome = unknown; p.write(1, true); p.read(1, 1) }, true},
		"a refused write is seen": {
			func(p *past) { p.write(1, false).outcome = none; p.read(1, 1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := tell()
			c.tell(p)
			found := judgeObjects(p.history, nil)
			if ok := len(found.violations) == 0; ok != c.ok || found.undecided > 0 {
				t.Errorf("linearizable: %t, want %t; %+v", ok, c.ok, found)
			}
		})
	}
}

func TestAListKeepsTheOrderOfItsAppends(t *testing.T) {
	for name, c := range map[string]struct {
		seen []int64
		ok   bool
	}{
		"all, in order":   {[]int64{1, 2, 3}, true},
		"one is missing":  {[]int64{1, 3}, false},
		"another order":   {[]int64{2, 1, 3}, false},
		"one comes twice": {[]int64{1, 2, 2, 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := tell()
			for range 3 {
				p.write(1, true)
			}
			p.read(1, c.seen...)
			for _, op := range p.all {
				op.kind = list
			}
			if found := judgeObjects(p.history, nil); (len(found.violations) == 0) != c.ok {
				t.Errorf("%+v, want linearizable: %t", found, c.ok)
			}
		})
	}
}

func TestAnOlderTermThatAcknowledgesLaterIsAViolation(t *testing.T) {
	frozen := fault{name: "frozen", frozen: true}
	slow := fault{name: "slow", network: true}
	for name, c := range map[string]struct {
		early    bool // sent before the newer term acknowledged
		strike   *fault
		on       string
		violated bool
	}{
		"sent and acknowledged after":                  {violated: true},
		"sent before, acknowledged after":              {early: true, violated: true},
		"sent before, held back by its network":        {early: true, strike: &slow, on: "pg1"},
		"sent before, another node's network was slow": {early: true, strike: &slow, on: "pg2", violated: true},
		"sent after, whatever the network":             {strike: &slow, on: "pg1", violated: true},
		"its node was frozen":                          {strike: &frozen, on: "pg1"},
		"another node was frozen":                      {strike: &frozen, on: "pg2", violated: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := tell()
			p.write(1, true)
			newer := p.write(2, true)
			older := p.write(1, true)
			if c.early {
				older.call = newer.call - 1
			}
			var strikes []strike
			if c.strike != nil {
				strikes = append(strikes, strike{fault: *c.strike, node: c.on, during: span{0, p.at}})
			}
			found := judgeOrder(p.history, strikes, asynchronous)
			if violated := len(found.violations) > 0; violated != c.violated {
				t.Errorf("%+v, want a violation: %t", found, c.violated)
			}
		})
	}
}

func TestLostWritesStayInTheAsynchronousWindow(t *testing.T) {
	// Timeline 1 ends at 250: operation 3, at 300, lies behind it.
	eras := []era{{1, 250}, {2, math.MaxInt64}}
	for name, c := range map[string]struct {
		lost      int64
		published int64
		handed    bool
		violated  bool
	}{
		"behind the fork":                          {lost: 3, published: 260},
		"before the fork":                          {lost: 1, published: 260, violated: true},
		"on the last timeline":                     {lost: 5, published: 260, violated: true},
		"the fork is too far behind what was told": {lost: 3, published: 400, violated: true},
		"at a hand-over":                           {lost: 3, published: 260, handed: true, violated: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := tell()
			for i := range int64(6) {
				tl := int32(1)
				if i >= 3 {
					tl = 2
				}
				p.write(tl, i+1 != c.lost && (i != 2 || c.lost == 3))
			}
			if c.lost != 3 { // nothing else is lost
				p.all[2].outcome = unknown
			}
			r := &records{status: []published{{10, c.published, 1}}, terms: map[int32]int64{2: 20}, handed: map[int64]int64{}}
			if c.handed {
				r.handed[20] = 250
			}
			j := lossJudge{mode: asynchronous, loses: true, h: p.history, eras: eras, records: r, maxLag: 100}
			losses := j.judge()
			if violated := len(j.violations) > 0; violated != c.violated {
				t.Errorf("losses %+v, violations %q, want one: %t", losses, j.violations, c.violated)
			}
		})
	}
}

func TestATimelineThatIsGoneIsJudgedByWhatWasPublishedOfIt(t *testing.T) {
	// Timeline 1 ends at 250; timeline 2, on which operation 3 was, is no part of the history.
	eras := []era{{1, 250}, {3, math.MaxInt64}}
	for name, c := range map[string]struct {
		published int64
		violated  bool
	}{
		"nothing was published of it": {published: 0},
		"a little":                    {published: 340},
		"more than may be lost":       {published: 360, violated: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := tell()
			p.write(1, true)
			p.write(1, true)
			p.write(2, false)
			p.write(3, true)
			r := &records{status: []published{{10, 240, 1}}, terms: map[int32]int64{2: 20, 3: 40}, handed: map[int64]int64{}}
			if c.published != 0 {
				r.status = append(r.status, published{30, c.published, 2})
			}
			j := lossJudge{mode: asynchronous, loses: true, h: p.history, eras: eras, records: r, maxLag: 100}
			losses := j.judge()
			if violated := len(j.violations) > 0; violated != c.violated {
				t.Errorf("losses %+v, violations %q, want one: %t", losses, j.violations, c.violated)
			}
		})
	}
}

func TestTheSameSeedDrawsTheSameSchedule(t *testing.T) {
	a, _ := draw(7, catalog, modes)
	b, _ := draw(7, catalog, modes)
	other, _ := draw(8, catalog, modes)
	if a.String() != b.String() || a.String() == other.String() {
		t.Errorf("seed 7 gave\n%v\nand\n%v\nseed 8\n%v", a, b, other)
	}
}
