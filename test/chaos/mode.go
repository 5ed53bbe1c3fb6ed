package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// mode is how commits of a schedule's cluster are made durable.
type mode string

const (
	asynchronous mode = "asynchronous"
	gated        mode = "gated" // asynchronous with commit_gate
	synchronous  mode = "synchronous"
	quorum       mode = "quorum"
)

// modes are drawn in turns, so that four schedules on end have them all.
var modes = []mode{asynchronous, gated, synchronous, quorum}

// modesNamed are the modes of a list, all when it is empty.
func modesNamed(names []string) ([]mode, error) {
	var all []mode
	for _, name := range names {
		known := false
		for _, m := range modes {
			if m == mode(name) {
				all, known = append(all, m), true
			}
		}
		if !known {
			return nil, fmt.Errorf("there is no mode %q: choose from %v", name, modes)
		}
	}
	if len(all) == 0 {
		all = modes
	}
	return all, nil
}

// durability draws the mode of a seed from dice of its own: the faults of a seed are
// the same in every mode that has them. Failsafe mode takes turns within each mode, and
// between seeds that follow each other.
func durability(seed uint64, from []mode) (m mode, strict, failsafe bool) {
	dice := rand.New(rand.NewPCG(seed, 1))
	turns := uint64(len(from))
	return from[seed%turns], dice.IntN(2) == 0, (seed+seed/turns)%failsafeOf != 0
}

// failsafeOf: one schedule of so many is without failsafe mode.
const failsafeOf = 3

// faultsOf are the faults that a mode has: to hit a gate there must be one.
func (m mode) faultsOf(all []fault) []fault {
	var own []fault
	for _, f := range all {
		if f.gate && m != gated {
			continue
		}
		own = append(own, f)
	}
	return own
}

// loses tells whether a failover may lose acknowledged writes: also in a synchronous
// mode that is not strict, once commits wait for nobody since nobody streams.
func (s settings) loses() bool { return s.Mode == asynchronous || s.Mode == gated || !s.Strict }

// excepts tells whether the named exception applies: nothing but its own agent stops a
// server whose every agent process stands still.
func (m mode) excepts() bool { return m == asynchronous }

// dynamic is the cluster's configuration.
func (s settings) dynamic() map[string]any {
	d := map[string]any{"maximum_lag_on_failover": s.MaxLag, "failsafe_mode": s.Failsafe}
	switch s.Mode {
	case gated:
		d["commit_gate"] = true
	case synchronous:
		d["synchronous_mode"], d["synchronous_mode_strict"] = "on", s.Strict
	case quorum:
		d["synchronous_mode"], d["synchronous_mode_strict"] = "quorum", s.Strict
	case asynchronous:
	}
	return d
}

// inForce looks whether the primary goes by the mode; empty when it does.
func (s settings) inForce(n *testbed.Node, names string) string {
	switch is := fmt.Sprintf("%s has synchronous_standby_names = %q", n.Name, names); {
	case s.Mode == gated && !strings.HasPrefix(names, "pgkeeper_gate_"),
		s.Mode == quorum && !strings.HasPrefix(names, "ANY "),
		s.Mode == synchronous && !strings.HasPrefix(names, "FIRST ") && !strings.HasPrefix(names, "ANY "),
		s.Mode == asynchronous && names != "":
		return is
	}
	return ""
}

// name is the mode in reports.
func (s settings) name() string {
	name := string(s.Mode)
	if s.Strict && s.Mode != asynchronous && s.Mode != gated {
		name += ", strict"
	}
	if s.Failsafe {
		name += ", failsafe"
	}
	return name
}

// sentBefore tells a write that was under way when its node was frozen: where nothing is
// acknowledged past the lease, its answer may have been decided before that, and have lain
// in a socket until the thaw.
func sentBefore(strikes []strike, op *operation, life span) bool {
	for _, k := range strikes {
		if k.node == op.node && k.frozen && op.call < k.during.from && (span{k.during.from, k.during.to + aftermath}).overlaps(life) {
			return true
		}
	}
	return false
}
