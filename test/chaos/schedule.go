package chaos

import (
	"encoding/json"
	"math/rand/v2"
	"time"
)

// event is one fault of a schedule, and perhaps a second one in its middle.
type event struct {
	Fault string        `json:"fault"`
	On    string        `json:"on"`
	Pick  int           `json:"pick"` // which of several standbys
	For   time.Duration `json:"for"`
	// Calm is how long nothing is broken after it.
	Calm   time.Duration `json:"calm"`
	Second *event        `json:"second,omitempty"`
}

// schedule is all that is drawn from a seed before anything runs.
type schedule struct {
	Seed     uint64   `json:"seed"`
	Settings settings `json:"settings"`
	Events   []event  `json:"events"`
}

const (
	eventsLeast, eventsMost = 6, 9
	calmLeast, calmMost     = 3 * time.Second, 9 * time.Second
	secondOf                = 5 // every fifth fault on average has a second one beside it
	switchOf                = 6 // and every sixth a switchover
)

// draw makes the schedule of a seed. Each of the faults is drawn as often as any
// other, whatever parts of the cluster it can hit.
func draw(seed uint64, all []fault, from []mode) (schedule, *rand.Rand) {
	dice := rand.New(rand.NewPCG(seed, 0))
	m, strict, failsafe := durability(seed, from)
	faults := m.faultsOf(all)
	s := schedule{Seed: seed, Settings: settings{
		TTL:    time.Duration(4+dice.IntN(3)) * time.Second,
		MaxLag: []int64{32 << 10, 256 << 10, 1 << 20}[dice.IntN(3)],
		Mode:   m, Strict: strict, Failsafe: failsafe,
	}}
	for range eventsLeast + dice.IntN(eventsMost-eventsLeast+1) {
		e := drawEvent(dice, faults[dice.IntN(len(faults))])
		switch {
		case dice.IntN(secondOf) == 0:
			if second := drawEvent(dice, faults[dice.IntN(len(faults))]); !blinds(e, second) && !stuck(e, second) {
				e.Second = &second
			}
		case dice.IntN(switchOf) == 0:
			e.Second = &event{Fault: "switchover", On: onEtcd}
		}
		s.Events = append(s.Events, e)
	}
	return s, dice
}

// blinds tells a pair that freezes worker and guard at once: that is freeze_agent, the
// named exception of asynchronous mode, under names that are none.
func blinds(a, b event) bool {
	both := func(x, y string) bool { return a.Fault == x && b.Fault == y || a.Fault == y && b.Fault == x }
	return both("freeze_worker", "freeze_guard")
}

// stuck tells a pair that this program could not mend in time: processes that wait for
// a frozen disk neither die nor start.
func stuck(a, b event) bool {
	const disk = "disk_frozen"
	return (a.Fault == disk || b.Fault == disk) && a.On != onEtcd && b.On != onEtcd
}

func drawEvent(dice *rand.Rand, f fault) event {
	return event{
		Fault: f.name, On: f.on[dice.IntN(len(f.on))], Pick: dice.IntN(2),
		For: between(dice, f.least, f.most), Calm: between(dice, calmLeast, calmMost),
	}
}

func between(dice *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(dice.Int64N(int64(most-least)+1))
}

// String is the schedule as JSON, one event a line.
func (s schedule) String() string {
	text, err := json.Marshal(s.Settings)
	if err != nil {
		return err.Error()
	}
	for _, e := range s.Events {
		line, err := json.Marshal(e)
		if err != nil {
			return err.Error()
		}
		text = append(append(text, '\n'), line...)
	}
	return string(text)
}
