package sim

// withPatroni is the settings of a cluster that is being moved from Patroni.
const withPatroni = `{"ttl":20,"loop_wait":2,"retry_timeout":3}`

// withPatroniSync is those of one whose commits wait for a standby.
const withPatroniSync = `{"ttl":20,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"on","synchronous_mode_strict":true}`

// withPatroniFailsafe is those of one that goes on without etcd.
const withPatroniFailsafe = `{"ttl":20,"loop_wait":2,"retry_timeout":3,"failsafe_mode":true}`

func init() { stories = append(stories, patroniStories...) }

// patroniStories are of clusters in which Patroni runs some of the nodes.
var patroniStories = []story{
	{name: "mixed_patroni_primary_dies", patroni: []int{0}, settings: withPatroni, faults: []fault{lead(10*s, "power off", 40*s, 0)}, until: 90 * s},
	{name: "mixed_primary_dies_and_patroni_takes_over", nodes: 2, patroni: []int{1}, settings: withPatroni, faults: []fault{lead(10*s, "power off", 40*s, 0)}, until: 90 * s},
	{name: "mixed_patroni_killed_and_its_server_left", patroni: []int{0}, settings: withPatroni, faults: []fault{lead(10*s, "kill agent", 40*s, 0)}, until: 90 * s},
	{name: "mixed_patroni_frozen", patroni: []int{0}, settings: withPatroni, faults: []fault{lead(10*s, "freeze agent", 40*s, 0)}, until: 90 * s},
	{name: "mixed_patroni_cut_from_etcd", patroni: []int{0}, settings: withPatroni, faults: []fault{lead(10*s, "cut from etcd", 40*s, 0)}, until: 90 * s},
	{name: "mixed_switchover_from_patroni", patroni: []int{0}, settings: withPatroni, faults: []fault{toward(2, 10*s, "switchover")}},
	{name: "mixed_switchover_to_patroni", patroni: []int{1}, settings: withPatroni, faults: []fault{toward(2, 10*s, "switchover")}},
	{name: "mixed_switchover_to_patroni_and_back", patroni: []int{1}, settings: withPatroni, faults: []fault{toward(2, 10*s, "switchover"), toward(1, 30*s, "switchover")}, until: 60 * s},
	{name: "mixed_primary_isolated", patroni: []int{1}, settings: withPatroni, faults: []fault{lead(10*s, "isolated", 40*s, 0)}, until: 90 * s},
	{name: "mixed_agent_restarted", patroni: []int{0, 1}, settings: withPatroni, faults: []fault{on(3, 10*s, "agent stopped", 8*s, 0)}},
	{name: "mixed_patroni_restarted", patroni: []int{0}, settings: withPatroni, faults: []fault{lead(10*s, "agent stopped", 8*s, 0)}, until: 60 * s},
	{name: "mixed_pause_then_patroni_is_restarted", patroni: []int{0}, settings: withPatroni, faults: []fault{lead(10*s, "pause", 30*s, 0), on(1, 14*s, "agent stopped", 4*s, 0)}, until: 70 * s},
	{name: "mixed_etcd_gone_and_patroni_leads", patroni: []int{0}, settings: withPatroniFailsafe, faults: []fault{lead(10*s, "etcd without leader", 60*s, 0)}, until: 100 * s},
	{name: "mixed_etcd_gone_and_an_agent_leads", patroni: []int{1}, settings: withPatroniFailsafe, faults: []fault{lead(10*s, "etcd without leader", 60*s, 0)}, until: 100 * s},
	{name: "mixed_synchronous_patroni_primary_dies", patroni: []int{0}, settings: withPatroniSync, faults: []fault{lead(10*s, "power off", 40*s, 0)}, until: 90 * s},
	{name: "mixed_synchronous_primary_dies", patroni: []int{1, 2}, settings: withPatroniSync, faults: []fault{lead(10*s, "power off", 40*s, 0)}, until: 90 * s},
	{name: "found_1541_promise_and_a_release_from_before", seed: 1541, nodes: 4, patroni: []int{3}, until: 90 * s,
		settings: `{"ttl":20,"loop_wait":1,"retry_timeout":9,"maximum_lag_on_failover":65536,"failsafe_mode":true}`, faults: []fault{
			{at: 34686213498, lasts: 7339415959, kind: "suspend machine", node: 1, to: 3, n: 49},
			{at: 5872113052, lasts: 6705260779, kind: "switchover", node: 1, to: 3, n: 47},
			{at: 9610443355, lasts: 27398090319, kind: "everybody cut from etcd", node: 3, to: 1, n: 19}}},
}
