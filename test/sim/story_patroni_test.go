package sim

// withPatroni is the settings of a cluster that is being moved from Patroni.
const withPatroni = `{"ttl":20,"loop_wait":2,"retry_timeout":3}`

// withPatroniSync is those of one whose commits wait for a standby.
const withPatroniSync = `{"ttl":20,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"on","synchronous_mode_strict":true}`

// withPatroniQuorum is those of one whose commits wait for any standby, which Patroni knows
// since 4.0.
const withPatroniQuorum = `{"ttl":20,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`

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
	{name: "mixed_quorum_patroni_primary_dies", patroni: []int{0}, settings: withPatroniQuorum, faults: []fault{lead(10*s, "power off", 40*s, 0)}, until: 100 * s},
	{name: "mixed_quorum_primary_dies", patroni: []int{1}, settings: withPatroniQuorum, faults: []fault{lead(10*s, "power off", 40*s, 0)}, until: 100 * s},
	{name: "found_1541_promise_and_a_release_from_before", seed: 1541, nodes: 4, patroni: []int{3}, until: 90 * s,
		settings: `{"ttl":20,"loop_wait":1,"retry_timeout":9,"maximum_lag_on_failover":65536,"failsafe_mode":true}`, faults: []fault{
			{at: 34686213498, lasts: 7339415959, kind: "suspend machine", node: 1, to: 3, n: 49},
			{at: 5872113052, lasts: 6705260779, kind: "switchover", node: 1, to: 3, n: 47},
			{at: 9610443355, lasts: 27398090319, kind: "everybody cut from etcd", node: 3, to: 1, n: 19}}},
	{name: "found_1129_named_and_not_listed", seed: 1129, nodes: 4, patroni: []int{1}, until: 45 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":524288,"synchronous_mode":"on","synchronous_mode_strict":false,"synchronous_node_count":2,"failsafe_mode":true}`, faults: []fault{
			{at: 10221207840, lasts: 347237350, kind: "failover", node: 2, to: 0, n: 8}}},
	{name: "found_5252_timeline_told_once", seed: 5252, patroni: []int{1, 2}, until: 90 * s,
		settings: `{"ttl":30,"loop_wait":1,"retry_timeout":3,"maximum_lag_on_failover":4096,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":2}`, faults: []fault{
			{at: 32355475486, lasts: 591011897, kind: "power off", node: 2, to: 0, n: 44},
			{at: 34064109270, lasts: 18075511878, kind: "agent stopped", node: 1, to: 3, n: 39},
			{at: 33666778098, lasts: 6498843092, kind: "cut from servers", node: 2, to: 3, n: 46}}},
	{name: "found_5632_published_without_a_timeline", seed: 5632, patroni: []int{1}, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1024}`, faults: []fault{
			{at: 15663774739, lasts: 24933363672, kind: "receiver stuck", node: 1, to: 1, n: 42},
			{at: 18260640292, lasts: 3458242815, kind: "kill agent", node: 2, to: 2, n: 48},
			{at: 18389955763, lasts: 1946332607, kind: "agent stopped", node: 0, to: 1, n: 25},
			{at: 20923416610, lasts: 1448173892, kind: "agent stopped", node: 1, to: 0, n: 49}}},
	{name: "found_21561_number_that_patroni_took_again", seed: 21561, patroni: []int{0}, until: 100 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":524288,"failsafe_mode":true}`, faults: []fault{
			{at: 38226790043, lasts: 6826082581, kind: "agent stopped", node: 2, to: 0, n: 38},
			{at: 39758063775, lasts: 739619152, kind: "power off", node: 1, to: 0, n: 19},
			{at: 16694848648, lasts: 27437190451, kind: "kill agent", node: 2, to: 1, n: 11}}},
	{name: "found_45997_history_that_patroni_lacks", seed: 45997, patroni: []int{0, 1}, until: 110 * s, healed: 60 * s,
		settings: `{"ttl":30,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":32768}`, faults: []fault{
			{at: 52776502283, lasts: 2547388034, kind: "failover", node: 1, to: 0, n: 3},
			{at: 47109162265, lasts: 17945804776, kind: "pause", node: 1, to: 0, n: 23},
			{at: 33958077448, lasts: 305270564, kind: "reinitialize", node: 0, to: 2, n: 29},
			{at: 30267513142, lasts: 375393110, kind: "agent stopped", node: 1, to: 3, n: 23},
			{at: 14451081310, lasts: 2454070602, kind: "late requests", node: 0, to: 3, n: 12},
			{at: 45099429128, lasts: 1635673354, kind: "isolated", node: 1, to: 3, n: 16},
			{at: 26402841237, lasts: 20294465964, kind: "agent stopped", node: 2, to: 3, n: 3}}},
	{name: "found_75294_record_from_before_a_patroni_leader", seed: 75294, patroni: []int{2}, until: 100 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":1,"retry_timeout":5,"maximum_lag_on_failover":4096,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":1,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 20342030866, lasts: 7957056916, kind: "suspend machine", node: 1, to: 2, n: 36},
			{at: 8951275412, lasts: 236860701, kind: "kill guard", node: 0, to: 1, n: 49},
			{at: 39577207156, lasts: 19732375435, kind: "disk full", node: 2, to: 0, n: 38},
			{at: 26781011962, lasts: 1203592065, kind: "everybody cut from etcd", node: 1, to: 2, n: 19},
			{at: 35319572915, lasts: 11126100041, kind: "one-way cut", node: 0, to: 2, n: 34},
			{at: 32739107815, lasts: 4644179265, kind: "switchover", node: 2, to: 0, n: 41},
			{at: 33317116964, lasts: 1850719388, kind: "kill agent", node: 0, to: 3, n: 1},
			{at: 16779924775, lasts: 701660245, kind: "switchover", node: 1, to: 2, n: 4},
			{at: 23567094636, lasts: 227772611, kind: "request without sense", node: 1, to: 2, n: 33},
			{at: 30167236268, lasts: 2563973818, kind: "tags changed", node: 2, to: 9, n: 219}}},
	{name: "found_244992189121743_history_written_over", seed: 244992189121743, nodes: 3, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":524288}`, patroni: []int{0, 2}, faults: []fault{
			{at: 14083741482, lasts: 14975503331, kind: "agent stopped", node: 0, to: 2, n: 35},
			{at: 16163626262, lasts: 457842413, kind: "requests lost", node: 2, to: 1, n: 36},
			{at: 17013921135, lasts: 21896401113, kind: "switchover", node: 0, to: 2, n: 3},
			{at: 18297443755, lasts: 11441100069, kind: "kill agent", node: 1, to: 1, n: 45},
			{at: 31456411424, lasts: 3474494023, kind: "failover", node: 2, to: 1, n: 20},
			{at: 27043076823, lasts: 6063071649, kind: "agent stopped", node: 0, to: 3, n: 16},
			{at: 16979283537, lasts: 4450569243, kind: "kill server", node: 2, to: 3, n: 21},
			{at: 16011008593, lasts: 489996342, kind: "kill agent", node: 0, to: 3, n: 9}}},
	{name: "found_57332_limit_that_the_key_sync_lifted", seed: 57332003, nodes: 4, patroni: []int{1}, until: 130 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":9,"maximum_lag_on_failover":8192,"synchronous_mode":"on","synchronous_mode_strict":false,"synchronous_node_count":2,"failsafe_mode":true}`, faults: []fault{
			{at: 32654007469, lasts: 1151044730, kind: "failover", node: 0, to: 0, n: 8},
			{at: 36501804240, lasts: 1140052879, kind: "busy backend", node: 0, to: 1, n: 4},
			{at: 41841249255, lasts: 14351844795, kind: "freeze server", node: 1, to: 3, n: 7},
			{at: 17281728989, lasts: 1853571806, kind: "switchover", node: 2, to: 3, n: 27},
			{at: 20109390242, lasts: 7594975687, kind: "freeze agent", node: 1, to: 3, n: 38},
			{at: 13963194643, lasts: 1471803268, kind: "isolated", node: 3, to: 2, n: 35},
			{at: 6145539243, lasts: 1335139235, kind: "answers lost", node: 0, to: 3, n: 11},
			{at: 37660253132, lasts: 20828886635, kind: "cut from servers", node: 1, to: 3, n: 17},
			{at: 10788079269, lasts: 2347917509, kind: "failover forced", node: 1, to: 0, n: 15},
			{at: 434854502, lasts: 56567793423, kind: "tags changed", node: 1, to: 4, n: 276},
			{at: 29557973278, lasts: 0, kind: "reinitialize", node: 0, to: 1, n: 1}}},
	{name: "found_300733_named_and_behind", seed: 300733, patroni: []int{0, 1}, until: 100 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":5,"maximum_lag_on_failover":262144,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":2,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 27722875468, lasts: 13699929140, kind: "cut from etcd", node: 2, to: 1, n: 10},
			{at: 41638087137, lasts: 14555413285, kind: "switchover", node: 1, to: 2, n: 36},
			{at: 19220801765, lasts: 1009179129, kind: "pause", node: 1, to: 2, n: 6},
			{at: 7269451509, lasts: 11335187645, kind: "kill worker", node: 0, to: 0, n: 30},
			{at: 12570892185, lasts: 8968503552, kind: "cut from etcd", node: 0, to: 3, n: 32},
			{at: 11889426039, lasts: 21112467717, kind: "power off", node: 1, to: 3, n: 30},
			{at: 9126250549, lasts: 9063753835, kind: "etcd without leader", node: 2, to: 0, n: 33},
			{at: 38503164243, lasts: 23705271307, kind: "everybody cut from etcd", node: 2, to: 0, n: 18}}},
	{name: "found_412820_vote_of_a_voter_that_has_yet_to_read_its_wal", seed: 412820, patroni: []int{0}, until: 110 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":131072,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"fast_failover":true}`, faults: []fault{
			{at: 18260800731, lasts: 13085841451, kind: "refused requests", node: 2, to: 1, n: 29},
			{at: 42840392204, lasts: 481620578, kind: "power off", node: 2, to: 2, n: 34},
			{at: 43013566806, lasts: 3697298857, kind: "loop_wait changed", node: 0, to: 0, n: 9},
			{at: 39394254218, lasts: 59761284, kind: "kill agent", node: 2, to: 3, n: 30},
			{at: 20755027053, lasts: 959686414, kind: "power off", node: 1, to: 1, n: 34},
			{at: 35634072488, lasts: 23961734504, kind: "power off", node: 0, to: 3, n: 11},
			{at: 26250472204, lasts: 1125699075, kind: "reinitialize", node: 1, to: 0, n: 39},
			{at: 29807412968, lasts: 6348475224, kind: "reinitialize", node: 2, to: 0, n: 44},
			{at: 45517729077, lasts: 18000000000, kind: "power off", node: 1, to: 0, n: 8},
			{at: 49204077546, lasts: 15000000000, kind: "power off", node: 2, to: 0, n: 9}}},
	{name: "found_1009018_clone_while_its_standby_would_not_do", seed: 1009018, patroni: []int{0}, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":1,"retry_timeout":3,"maximum_lag_on_failover":65536}`, faults: []fault{
			{at: 30867504538, lasts: 3946206641, kind: "disk hangs", node: 2, to: 1, n: 8},
			{at: 29492012670, lasts: 9872862514, kind: "cut from etcd", node: 1, to: 0, n: 47},
			{at: 5128600078, lasts: 5484670935, kind: "switchover", node: 1, to: 3, n: 25},
			{at: 19108431477, lasts: 19572724870, kind: "tags changed", node: 2, to: 4, n: 13},
			{at: 31563213396, lasts: 0, kind: "reinitialize", node: 1, to: 1, n: 1}}},
	{name: "found_1028705_patroni_leader_that_wrote_nothing", seed: 1028705, patroni: []int{0, 2}, until: 110 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":16384,"synchronous_mode":"quorum","synchronous_mode_strict":false,"synchronous_node_count":1}`, faults: []fault{
			{at: 23909562768, lasts: 13551010267, kind: "answers lost", node: 1, to: 1, n: 41},
			{at: 13099119610, lasts: 20608162842, kind: "stale etcd leader", node: 0, to: 1, n: 41},
			{at: 36068818692, lasts: 1706729647, kind: "answers lost", node: 2, to: 0, n: 37},
			{at: 16472696916, lasts: 25000000000, kind: "promotion dies", node: 0, to: 1, n: 50},
			{at: 17472696916, lasts: 19000000000, kind: "power off", node: 0, to: 0, n: 26}}},
	{name: "found_2000855_patroni_leader_that_nothing_shows", seed: 2000855, patroni: []int{0}, until: 110 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":2048,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"fast_failover":true}`, faults: []fault{
			{at: 5775549018, lasts: 5767782373, kind: "one-way cut", node: 2, to: 3, n: 12},
			{at: 15547355510, lasts: 6867416612, kind: "isolated", node: 1, to: 3, n: 46},
			{at: 16695055987, lasts: 25000000000, kind: "promotion dies", node: 2, to: 1, n: 50},
			{at: 17695055987, lasts: 7000000000, kind: "power off", node: 0, to: 0, n: 11}}},
	{name: "found_2016152_former_leader_that_steps_back", seed: 2016152, patroni: []int{1}, until: 130 * s, healed: 60 * s,
		settings: `{"ttl":20,"loop_wait":1,"retry_timeout":9,"maximum_lag_on_failover":1024,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":2,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 7229944436, lasts: 8623756027, kind: "agent stopped", node: 0, to: 1, n: 30},
			{at: 50489915449, lasts: 6280666668, kind: "switchover", node: 2, to: 0, n: 24},
			{at: 31712831135, lasts: 2934840427, kind: "switchover", node: 0, to: 1, n: 3},
			{at: 47360087192, lasts: 14327050049, kind: "kill server", node: 1, to: 3, n: 2},
			{at: 7473398736, lasts: 9378052430, kind: "etcd without leader", node: 0, to: 0, n: 33},
			{at: 29028361752, lasts: 27878083053, kind: "power off", node: 2, to: 1, n: 31},
			{at: 36657740303, lasts: 3338874258, kind: "everybody cut from etcd", node: 1, to: 0, n: 39},
			{at: 49036634581, lasts: 23449557193, kind: "isolated", node: 1, to: 3, n: 33},
			{at: 20325450760, lasts: 10000000000, kind: "power off", node: 1, to: 0, n: 6},
			{at: 33194023048, lasts: 25000000000, kind: "promotion dies", node: 2, to: 1, n: 18}}},
}
