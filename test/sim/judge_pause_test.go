package sim

import (
	"syscall"
	"testing"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

func TestWhatAPausePermits(t *testing.T) {
	for name, c := range map[string]struct {
		do        agent.Do
		asks      cluster.RequestKind
		of        int
		permitted bool
	}{
		"a restart that was asked for":             {agent.OnJob{Action: election.Restart{}}, cluster.RequestRestart, 1, true},
		"a restart that was asked of another":      {agent.OnJob{Action: election.Restart{}}, cluster.RequestRestart, 2, false},
		"a restart that nobody asked for":          {agent.OnJob{Action: election.Restart{}}, "", 0, false},
		"a clone that was asked for":               {agent.OnJob{Action: election.Clone{}}, cluster.RequestReinitialize, 1, true},
		"a clone of who was to restart":            {agent.OnJob{Action: election.Clone{}}, cluster.RequestRestart, 1, false},
		"a promotion":                              {agent.OnJob{Action: election.Promote{}}, cluster.RequestRestart, 1, false},
		"a slot":                                   {agent.OnServer{Action: election.EnsureSlots{}}, "", 0, false},
		"another upstream":                         {agent.OnServer{Action: election.Follow{}}, "", 0, false},
		"a configuration with the same upstream":   {agent.OnServer{Action: election.Reload{}, Upstream: &election.Upstream{Host: "pg1"}}, "", 0, true},
		"a configuration with another upstream":    {agent.OnServer{Action: election.Reload{}, Upstream: &election.Upstream{Host: "pg3"}}, "", 0, false},
		"a fence":                                  {agent.OnFence{}, "", 0, false},
		"what has nothing to do with its server":   {agent.OnKeys{}, "", 0, true},
		"the end of a term, of which guards judge": {agent.GuardEnd{}, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, lead := ledWorld(t, "")
			w.patch("pause", true)
			w.runUntil(w.now + s)
			n := w.nodes[1]
			if s := n.worker.state(); c.asks != "" {
				s.View.Value.Requests = []cluster.Request{{Member: w.nodes[c.of].name, Kind: c.asks}}
			}
			if n.untouched(c.do); (w.violation == "") != c.permitted {
				t.Errorf("%q\n%s", w.violation, w.text)
			}
			w.violation = ""
			if lead.guard.stops(syscall.SIGQUIT); w.violation != "S6" {
				t.Errorf("a guard may stop its server in a pause: %q", w.violation)
			}
		})
	}
}
