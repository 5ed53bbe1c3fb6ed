package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestSchedules walks whole stories: what decisions lead to, one after the other.
// In each, at most one server accepts writes at any time, and in the end the
// cluster is healthy and at rest.
func TestSchedules(t *testing.T) {
	for name, story := range map[string]func(*testing.T){
		"three empty machines become one cluster": func(t *testing.T) {
			w := newWorld(t, "a", "b", "c")
			w.leads("a", "b", "c")
		},
		"the winner of the bootstrap dies in the middle": func(t *testing.T) {
			w := newWorld(t, "a", "b", "c")
			w.at("a").says(ReasonInitDB)
			w.at("a").powerOff()
			w.leads("b", "c")
			w.at("a").powerOn()
			w.leads("b", "c")
		},
		"the winner's agent dies between initdb and the record": func(t *testing.T) {
			w := newWorld(t, "a", "b", "c")
			w.at("a").says(reasonOfJob(JobInitDB))
			a := w.at("a")
			a.killAgent()
			if err := a.work(InitDB{}); err != nil {
				t.Fatal(err)
			}
			w.run(time.Second)
			a.startAgent()
			w.leads("a", "b", "c")
		},
		"the winner loses its claim during initdb and moves its new directory aside": func(t *testing.T) {
			w := newWorld(t, "a", "b", "c")
			w.at("a").says(ReasonInitDB)
			w.at("a").offline, w.at("a").jobEnd = true, w.now.Add(15*time.Second)
			w.leads("b", "c")
			w.at("a").offline = false
			w.leads("b", "c")
			if w.at("a").node.SystemID == "sys-a" {
				w.fail("a kept its own new cluster")
			}
		},
		"initdb fails a few times": func(t *testing.T) {
			w := newWorld(t, "a")
			w.at("a").broken[JobInitDB] = true
			w.run(20 * time.Second)
			if n := w.at("a").acted["InitDB"]; n < 3 || n > 12 {
				w.fail("initdb was tried %d times in 20 s", n)
			}
			w.at("a").broken[JobInitDB] = false
			w.healthy("a")
		},
		"the primary's machine dies and comes back": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").powerOff()
			leader := w.leads("b", "c")
			w.at("a").powerOn()
			w.healthy(leader)
		},
		"the primary's server crashes": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").crash()
			w.run(time.Second)
			w.healthy("a")
		},
		"the standby with more is elected": func(t *testing.T) {
			w := cluster3(t)
			w.at("b").deaf = true
			w.run(100 * time.Millisecond)
			w.at("a").powerOff()
			w.until("c is primary", time.Minute, func() bool { return w.at("c").node.Mode == cluster.ModePrimary })
			w.at("b").deaf = false
			w.healthy("c")
		},
		"the standby with more dies during the race": func(t *testing.T) {
			w := cluster3(t)
			w.at("b").deaf = true
			w.run(100 * time.Millisecond)
			w.at("a").powerOff()
			w.until("c is better", time.Minute, func() bool { return len(w.at("c").reasons) > 0 && w.at("c").obs.Vacancy > 0 })
			w.at("b").deaf = false
			w.at("c").powerOff()
			w.leads("b")
			w.at("c").powerOn()
			w.at("a").powerOn()
			w.healthy("b")
		},
		"a nofailover member with more is passed by": func(t *testing.T) {
			w := cluster3(t)
			w.at("c").obs.Self.Tags = cluster.Tags{"nofailover": true}
			w.at("b").deaf = true
			w.run(100 * time.Millisecond)
			w.at("a").powerOff()
			w.until("b is primary", time.Minute, func() bool { return w.at("b").node.Mode == cluster.ModePrimary })
			w.healthy("b")
		},
		"the holder's worker is restarted beside its primary": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").killAgent()
			w.run(time.Second)
			w.at("a").startAgent()
			w.healthy("a")
		},
		"the holder's worker is restarted beside its stopped server": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").killAgent()
			w.at("a").crash()
			w.run(time.Second)
			w.at("a").startAgent()
			w.healthy("a")
		},
		"the holder's worker stays away": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").killAgent()
			leader := w.leads("b", "c")
			w.at("a").startAgent()
			w.healthy(leader)
		},
		"the holder's machine is rebooted faster than its lease ends": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").powerOff()
			w.run(time.Second)
			w.at("a").powerOn()
			w.leads("a", "b", "c")
		},
		"the whole cluster is restarted": func(t *testing.T) {
			w := cluster3(t)
			for _, m := range w.machines {
				m.powerOff()
			}
			w.run(time.Minute)
			for _, m := range w.machines {
				m.powerOn()
			}
			w.leads("a", "b", "c")
		},
		"the whole cluster is stopped in order and started the other way round": func(t *testing.T) {
			w := cluster3(t)
			for _, name := range []string{"a", "b", "c"} {
				w.at(name).obs.Wish.Stop = true
				w.until(name+" exits", time.Minute, func() bool { return w.at(name).exited })
			}
			w.run(time.Minute)
			for _, name := range []string{"a", "b", "c"} {
				w.at(name).startAgent()
				w.run(20 * time.Second)
			}
			w.leads("a", "b", "c")
		},
		"etcd is lost to the holder and comes back": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").offline = true
			leader := w.leads("b", "c")
			w.at("a").offline = false
			w.healthy(leader)
		},
		"etcd is lost to all and comes back": func(t *testing.T) {
			w := cluster3(t)
			for _, m := range w.machines {
				m.offline = true
			}
			w.run(30 * time.Second)
			for _, m := range w.machines {
				m.offline = false
			}
			w.leads("a", "b", "c")
		},
		"etcd is lost to all for less than a lease": func(t *testing.T) {
			w := cluster3(t)
			for _, m := range w.machines {
				m.offline = true
			}
			w.run(5 * time.Second)
			for _, m := range w.machines {
				m.offline = false
			}
			w.healthy("a")
		},
		"the leader key is deleted by hand": func(t *testing.T) {
			w := cluster3(t)
			w.edit(func(v *cluster.View) { v.Leader = nil })
			w.leads("a", "b", "c")
		},
		"the key initialize is deleted by hand": func(t *testing.T) {
			w := cluster3(t)
			w.edit(func(v *cluster.View) { v.Initialize = nil })
			w.healthy("a")
		},
		"the configuration and the history are deleted by hand": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").powerOff()
			leader := w.leads("b", "c")
			w.edit(func(v *cluster.View) { v.Config, v.History, v.Status = nil, nil, nil })
			w.healthy(leader)
		},
		"promotions fail on the best candidate": func(t *testing.T) {
			w := cluster3(t)
			w.at("b").broken[JobPromote] = true
			w.at("a").powerOff()
			w.leads("c")
		},
		"the primary's server does not start any more": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").broken[JobStart] = true
			w.at("a").crash()
			leader := w.leads("b", "c")
			w.at("a").broken[JobStart] = false
			w.run(time.Minute)
			w.healthy(leader)
		},
		"an empty machine waits for a leader": func(t *testing.T) {
			w := cluster3(t)
			for _, m := range w.machines {
				m.powerOff()
			}
			w.at("b").node = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
			w.run(time.Minute)
			w.at("b").powerOn()
			w.at("b").says(ReasonWaitingForData)
			w.at("a").powerOn()
			w.healthy("a")
		},
		"a new primary dies before anybody follows it": func(t *testing.T) {
			w := cluster3(t)
			w.at("c").deaf = true
			w.at("a").powerOff()
			w.until("b is primary", time.Minute, func() bool { return w.at("b").node.Mode == cluster.ModePrimary })
			w.run(100 * time.Millisecond)
			w.at("b").powerOff()
			w.at("c").deaf = false
			w.at("a").powerOn()
			w.run(time.Minute)
			w.at("b").powerOn()
			w.leads("a", "b", "c")
		},
	} {
		t.Run(name, story)
	}
}

func TestSwitchoverSchedules(t *testing.T) {
	for name, story := range map[string]func(*testing.T){
		"to a named candidate": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "c")
			w.healthy("c")
		},
		"there and back": func(t *testing.T) {
			w := cluster3(t)
			for _, to := range []string{"b", "a", "c", "a"} {
				w.wishes(w.primary, to)
				w.run(time.Second)
				w.healthy(to)
			}
		},
		"the candidate dies before it is ready": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.at("a").says(ReasonSwitchoverPreparing)
			w.at("b").powerOff()
			w.healthy("a")
			w.at("b").powerOn()
			w.healthy("a")
		},
		"the candidate dies while the primary stops": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.at("a").says(ReasonSwitchoverStopping)
			w.at("b").powerOff()
			w.healthy("a")
		},
		"the candidate's agent dies while the primary stops": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.at("a").says(ReasonSwitchoverStopping)
			w.at("b").killAgent()
			w.healthy("a")
			w.at("b").startAgent()
			w.healthy("a")
		},
		"the candidate dies after the hand-over": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.until("the key is b's", time.Minute, func() bool { return w.view.HolderIs("b") })
			w.at("b").powerOff()
			w.leads("a", "c")
		},
		"the candidate's agent is restarted after the hand-over": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.until("the key is b's", time.Minute, func() bool { return w.view.HolderIs("b") })
			w.at("b").killAgent()
			w.at("b").startAgent()
			w.leads("a", "b", "c")
		},
		"the successor's agent is restarted after it accepted": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.until("b holds", time.Minute, func() bool { return w.at("b").obs.Lease.Term != 0 })
			w.at("b").killAgent()
			w.at("b").startAgent()
			w.healthy("b")
		},
		"the holder's agent is restarted while both prepare": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.at("a").says(ReasonSwitchoverPreparing)
			w.at("a").killAgent()
			w.at("a").startAgent()
			w.leads("a", "b")
		},
		"the holder's agent is restarted while its server is down": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.until("a is down", time.Minute, func() bool { return w.at("a").node.Mode == cluster.ModeStopped })
			w.at("a").killAgent()
			w.run(time.Second)
			w.at("a").startAgent()
			w.leads("a", "b")
		},
		"the answer to a hand-over that happened is lost": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").lost["give"] = true
			w.wishes("a", "b")
			w.healthy("b")
		},
		"a hand-over is lost with its answer": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").lost["give"] = false
			w.wishes("a", "b")
			w.healthy("b")
		},
		"the primary crashes instead of stopping": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.until("the stop begins", time.Minute, func() bool { return w.at("a").obs.Job.Kind == JobStop })
			w.at("a").crash()
			w.healthy("a")
		},
		"an impossible switchover is refused": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "z")
			w.healthy("a")
			if w.view.Failover != nil {
				w.fail("the wish stands")
			}
		},
		"an operator names the new primary after a death": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").powerOff()
			w.wishes("", "c")
			w.healthy("c")
		},
		"a named candidate that is dead does not keep others from leading": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").powerOff()
			w.at("c").powerOff()
			w.wishes("", "c")
			w.leads("b")
		},
		"an agent is stopped with a candidate": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").obs.Wish.Stop = true
			w.leads("b", "c")
			if !w.at("a").exited {
				w.fail("a has not exited")
			}
			w.at("a").startAgent()
			w.leads("b", "c")
		},
		"an agent is stopped without a candidate": func(t *testing.T) {
			w := cluster3(t)
			w.at("b").powerOff()
			w.at("c").powerOff()
			w.run(15 * time.Second)
			w.at("a").obs.Wish.Stop = true
			w.until("a exits", time.Minute, func() bool { return w.at("a").exited })
			if w.view.Release == nil || w.view.Leader != nil {
				w.fail("the lease was not given back")
			}
			w.at("a").startAgent()
			w.healthy("a")
		},
		"an agent is stopped whose candidate never gets ready": func(t *testing.T) {
			w := cluster3(t)
			w.at("c").powerOff()
			w.run(15 * time.Second)
			w.at("b").killAgent() // its server streams on, its key is kept by hand
			w.at("a").obs.Wish.Stop = true
			w.until("a exits", 2*time.Minute, func() bool {
				w.kept[w.at("b").obs.Self.MemberLease] = w.now
				return w.at("a").exited
			})
		},
		"an agent is stopped while etcd is away and its hand-over is unsettled": func(t *testing.T) {
			w := cluster3(t)
			w.at("a").lost["give"] = false
			w.at("a").obs.Wish.Stop = true
			w.at("a").says(ReasonHandingOver)
			w.at("a").offline = true
			w.until("a exits", time.Minute, func() bool { return w.at("a").exited })
			w.leads("b", "c")
		},
	} {
		t.Run(name, story)
	}
}

func TestPauseSchedules(t *testing.T) {
	for name, story := range map[string]func(*testing.T){
		"pause and resume": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Minute)
			w.pause(false)
			w.run(time.Second)
			w.healthy("a")
		},
		"the primary dies in pause": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Second)
			w.at("a").powerOff()
			w.run(time.Minute)
			if w.at("b").node.Mode == cluster.ModePrimary || w.at("c").node.Mode == cluster.ModePrimary {
				w.fail("somebody was promoted in pause")
			}
			w.pause(false)
			w.at("b").says(ReasonPausedElsewhere)
			w.run(time.Minute)
			w.at("a").powerOn()
			w.leads("a", "b", "c")
		},
		"the primary's server dies in pause": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Second)
			w.at("a").crash()
			w.run(time.Minute)
			w.pause(false)
			w.leads("a", "b", "c")
			if w.view.PausedAt != nil {
				w.fail("the mark stands")
			}
		},
		"the primary's directory is lost in pause": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Second)
			w.at("a").crash()
			w.at("a").node = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
			w.run(time.Minute)
			w.pause(false)
			w.leads("b", "c")
		},
		"the primary loses etcd in pause, and the pause ends without it": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Second)
			w.at("a").offline = true
			w.run(time.Minute)
			w.pause(false)
			w.run(time.Minute)
			w.at("a").offline = false
			w.healthy("a")
		},
		"the primary loses etcd before its mark is there": func(t *testing.T) {
			w := cluster3(t)
			a := w.at("a")
			a.offline = true
			a.obs.Settings.Pause = true // it saw the pause, and could not say so
			w.run(time.Minute)
			w.leads("b", "c")
		},
		"every agent is stopped in pause while the servers run on": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			for _, m := range w.machines {
				m.obs.Wish.Stop = true
			}
			w.run(time.Minute)
			if w.at("a").node.Mode != cluster.ModePrimary || w.at("b").node.Mode != cluster.ModeStandby {
				w.fail("a server was stopped")
			}
			for _, m := range w.machines {
				if !m.exited {
					w.fail("%s did not exit", m.name)
				}
				m.startAgent()
			}
			w.run(time.Minute)
			w.pause(false)
			w.healthy("a")
		},
		"the pause ends while the primary's agent is away": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Second)
			w.at("a").killAgent()
			w.run(time.Minute)
			w.pause(false)
			w.run(time.Minute)
			w.at("a").startAgent()
			w.healthy("a")
		},
		"a switchover is asked for in pause": func(t *testing.T) {
			w := cluster3(t)
			w.pause(true)
			w.run(time.Second)
			w.wishes("a", "b")
			w.run(10 * time.Second)
			if w.view.Failover != nil || w.primary != "a" {
				w.fail("the wish was not refused")
			}
			w.pause(false)
			w.healthy("a")
		},
		"a pause comes in the middle of a switchover": func(t *testing.T) {
			w := cluster3(t)
			w.wishes("a", "b")
			w.at("a").says(ReasonSwitchoverStopping)
			w.pause(true)
			w.run(time.Minute)
			w.pause(false)
			w.leads("a", "b", "c")
		},
	} {
		t.Run(name, story)
	}
}
