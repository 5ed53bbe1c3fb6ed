package sim

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// story is a situation an operator would ask about.
type story struct {
	name     string
	nodes    int
	settings string
	faults   []fault
	// kennels are the watchdogs of the members; nil for none.
	kennels []kennel
	// patroni are the nodes, counted from 0, that Patroni runs.
	patroni []int
	until   time.Duration
	// healed is when an operator ends whatever has not ended, as at the end of every
	// schedule; 0 for never.
	healed time.Duration
	// led is when somebody leads, and acknowledges commits, although not all is in order; 0 for a
	// story that is not of that.
	led time.Duration
	// stuck: only an operator can go on from the end.
	stuck bool
	// seed is of a schedule that violated an invariant once; 0 for none.
	seed uint64
}

const s = time.Second

// lead is a fault that hits the primary, on one that hits a member.
func lead(at time.Duration, kind string, lasts time.Duration, n int) fault {
	return fault{at: at, kind: kind, lasts: lasts, n: n, to: 3, node: 0}
}

func on(node int, at time.Duration, kind string, lasts time.Duration, n int) fault {
	return fault{at: at, kind: kind, lasts: lasts, n: n, to: 4, node: node - 1}
}

func toward(node int, at time.Duration, kind string) fault {
	return fault{at: at, kind: kind, to: node - 1, exact: true}
}

// withGate is the settings of an asynchronous cluster that gates its commits.
const withGate = `{"ttl":5,"loop_wait":2,"retry_timeout":3,"commit_gate":true}`

// withFast is those of a strict quorum in which a dead node is replaced at once.
const withFast = `{"ttl":20,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true,"fast_failover":true}`

// stories: in all of them pg1 is the primary at 10 s, with T = 5 s unless they say otherwise. Those named
// found_ show a mistake that a schedule has found; its number is in the name, and
// the faults are those that show the mistake, put back, on the present model.
var stories = []story{
	{name: "primary_loses_power", faults: []fault{lead(10*s, "power off", 15*s, 0)}},
	{name: "primary_dies_and_its_successor_in_its_promotion", faults: []fault{on(1, 8*s, "promotion dies", 20*s, 40), lead(10*s, "power off", 25*s, 0)}, until: 50 * s},
	{name: "primary_server_killed", faults: []fault{lead(10*s, "kill server", 0, 0)}},
	{name: "primary_loses_etcd", faults: []fault{lead(10*s, "cut from etcd", 15*s, 0)}},
	{name: "primary_isolated", faults: []fault{lead(10*s, "isolated", 15*s, 0)}},
	{name: "worker_killed", faults: []fault{lead(10*s, "kill worker", 0, 0)}},
	{name: "worker_frozen_for_a_minute", faults: []fault{lead(10*s, "freeze worker", 60*s, 0)}, until: 80 * s},
	{name: "guard_killed", faults: []fault{lead(10*s, "kill guard", 0, 0)}},
	{name: "guard_frozen", faults: []fault{lead(10*s, "freeze guard", 20*s, 0)}},
	{name: "agent_killed", faults: []fault{lead(10*s, "kill agent", 15*s, 0)}},
	{name: "agent_frozen_for_a_minute", faults: []fault{lead(10*s, "freeze agent", 60*s, 0)}, until: 80 * s},
	{name: "machine_suspended", faults: []fault{lead(10*s, "suspend machine", 20*s, 0)}},
	{name: "server_frozen", faults: []fault{lead(10*s, "freeze server", 20*s, 0)}},
	{name: "etcd_without_leader", faults: []fault{lead(10*s, "etcd without leader", 3*s, 0)}},
	{name: "etcd_gone_for_long", faults: []fault{lead(10*s, "etcd without leader", 20*s, 0)}},
	{name: "etcd_leader_changes", faults: []fault{lead(10*s, "etcd leader change", 0, 0)}},
	{name: "etcd_leader_stuck_on_its_disk", faults: []fault{lead(10*s, "stale etcd leader", 15*s, 0)}},
	{name: "etcd_restored_from_a_backup", faults: []fault{on(1, 10*s, "etcd restored", 15*s, 1), on(1, 12*s, "power off", 60*s, 0)}, until: 40 * s, stuck: true},
	{name: "etcd_answers_get_lost", faults: []fault{lead(10*s, "lossy wire", 10*s, 60)}},
	{name: "standby_lags", faults: []fault{on(2, 10*s, "receiver stuck", 30*s, 0), on(3, 10*s, "receiver stuck", 30*s, 0), lead(20*s, "power off", 25*s, 0)}, until: 70 * s,
		settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":2048}`},
	{name: "switchover", faults: []fault{toward(2, 10*s, "switchover")}},
	{name: "switchover_while_the_candidate_dies", faults: []fault{toward(2, 10*s, "switchover"), on(2, 10*s+20*time.Millisecond, "power off", 20*s, 0)}, until: 60 * s},
	{name: "switchover_while_the_primary_dies", faults: []fault{toward(2, 10*s, "switchover"), lead(10*s+50*time.Millisecond, "power off", 20*s, 0)}, until: 50 * s},
	{name: "switchover_while_answers_get_lost", faults: []fault{on(1, 10*s, "answers lost", 2*s, 0), toward(2, 9*s+990*time.Millisecond, "switchover")}},
	{name: "failover_named", faults: []fault{lead(10*s, "power off", 20*s, 0), toward(3, 11*s, "failover")}, until: 50 * s},
	{name: "pause_then_the_primary_dies", faults: []fault{lead(10*s, "pause", 20*s, 0), lead(14*s, "power off", 25*s, 0)}, until: 70 * s},
	{name: "pause_while_etcd_is_gone", faults: []fault{lead(10*s, "pause", 25*s, 0), lead(14*s, "etcd without leader", 12*s, 0)}, until: 50 * s},
	{name: "agent_stopped", faults: []fault{lead(10*s, "agent stopped", 10*s, 0)}},
	{name: "restart_asked_for", faults: []fault{on(1, 10*s, "restart", 0, 0)}},
	{name: "reinitialize_asked_for", faults: []fault{on(2, 10*s, "reinitialize", 0, 0)}},
	{name: "ttl_changed", faults: []fault{lead(10*s, "ttl changed", 0, 7)}},
	{name: "disk_stalls", faults: []fault{lead(10*s, "disk stalls", 15*s, 40)}},
	{name: "disk_hangs", faults: []fault{lead(10*s, "disk hangs", 15*s, 0)}, until: 50 * s},
	{name: "disk_full", faults: []fault{lead(10*s, "disk full", 15*s, 0)}, until: 50 * s},
	{name: "disk_hangs_for_a_minute", faults: []fault{lead(10*s, "disk hangs", 60*s, 0)}, until: 90 * s},
	{name: "disk_hangs_and_a_backend_with_it", faults: []fault{lead(10*s, "disk hangs", 60*s, 0), lead(10*s, "stuck backend", 60*s, 0)}, until: 90 * s},
	{name: "machine_with_far_too_much_to_do", faults: []fault{lead(8*s, "too much to do", 40*s, 7), lead(20*s, "kill server", 0, 0)}, until: 40 * s},
	{name: "data_disk_full", faults: []fault{lead(10*s, "data disk full", 30*s, 0)}, until: 70 * s},
	{name: "data_disk_full_everywhere", faults: []fault{on(1, 10*s, "data disk full", 30*s, 0), on(2, 10*s, "data disk full", 30*s, 0), on(3, 10*s, "data disk full", 30*s, 0)}, until: 50 * s},
	{name: "server_frozen_under_a_long_lease", faults: []fault{lead(10*s, "freeze server", 30*s, 0)}, until: 50 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3}`},
	{name: "server_frozen_here_and_there", faults: []fault{on(1, 10*s, "freeze server", 20*s, 0), on(2, 20*s, "freeze server", 20*s, 0)}, nodes: 2, until: 60 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3}`},
	{name: "server_frozen_for_a_moment", faults: []fault{lead(10*s, "freeze server", 4*s, 0)}, until: 30 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3}`},
	{name: "backend_crashes", faults: []fault{lead(10*s, "backend crashes", 0, 0)}},
	{name: "backend_outlives_its_postmaster", faults: []fault{lead(10*s, "busy backend", 10*s, 0)}},
	{name: "backend_outlives_its_postmaster_and_the_guard_is_frozen", faults: []fault{lead(9950*time.Millisecond, "freeze guard", 20*s, 0), lead(10*s, "busy backend", 10*s, 0)}, until: 50 * s},
	{name: "backend_stuck_in_the_kernel", faults: []fault{lead(10*s, "stuck backend", 20*s, 0), lead(12*s, "isolated", 10*s, 0)}, until: 60 * s},
	{name: "no_connections_left", faults: []fault{lead(10*s, "no connections", 15*s, 0), lead(14*s, "kill server", 0, 0)}, until: 50 * s},
	{name: "switchover_while_the_archiver_hangs", faults: []fault{lead(10*s, "archiver hangs", 90*s, 0), toward(2, 12*s, "switchover")}, until: 120 * s},
	{name: "replay_behind_everywhere", faults: []fault{on(2, 10*s, "replay paused", 30*s, 0), on(3, 10*s, "replay delayed", 30*s, 45), lead(20*s, "power off", 10*s, 0)}, until: 60 * s},
	{name: "guard_killed_while_the_server_starts", faults: []fault{lead(10*s, "kill server", 0, 0), lead(10*s+20*time.Millisecond, "kill guard", 0, 0)}},
	{name: "two_bootstrap_at_once", nodes: 2, until: 5 * s},
	{name: "bootstrap_winner_dies", faults: []fault{lead(100*time.Millisecond, "power off", 20*s, 0)}, until: 40 * s},
	{name: "found_100163914656638_history_of_a_primary_that_had_less", until: 60 * s, faults: []fault{on(2, 10*s, "receiver stuck", 6*s, 0), on(1, 14*s, "power off", 18*s, 0),
		{at: 15 * s, lasts: 10 * s, kind: "failover forced", to: 1, n: 1, exact: true}, on(3, 18300*time.Millisecond, "freeze worker", 6800*time.Millisecond, 0),
		on(2, 24*s, "power off", 28*s, 0), on(3, 26*s, "agent stopped", 1500*time.Millisecond, 0)}},
	{name: "found_265591737872940_ancestor_that_it_had_nothing_of", seed: 265591737872940157, nodes: 3, until: 90 * s,
		settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":1048576,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":2,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 40110909115, lasts: 4245023797, kind: "kill guard", node: 1, to: 2, n: 49},
			{at: 8979662714, lasts: 17747455290, kind: "etcd without leader", node: 2, to: 2, n: 29},
			{at: 8129016972, lasts: 13947102659, kind: "kill worker", node: 1, to: 2, n: 14},
			{at: 28484170067, lasts: 2406766182, kind: "power off", node: 2, to: 0, n: 26},
			{at: 11150680954, lasts: 27955461629, kind: "one-way cut", node: 1, to: 3, n: 9}}},
	{name: "found_176178541827474_mode_off_while_its_names_are_set", seed: 176178541827474,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":8192,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":2,"fast_failover":true}`, faults: []fault{
			{at: 29575332139, lasts: 209089063, kind: "durability changed", node: 1, to: 0, n: 30},
			{at: 30723855787, lasts: 75219417, kind: "durability changed", node: 1, to: 3, n: 5},
			{at: 30719629893, lasts: 68495431, kind: "durability changed", node: 0, to: 0, n: 43}}},
	{name: "found_66541419551694_clone_of_a_deposed_primary", seed: 66541419551694, until: 60 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":16384}`, faults: []fault{
			{at: 33749289533, lasts: 15783000394, kind: "disk stalls", node: 0, to: 2, n: 37},
			{at: 35968343973, lasts: 11829097003, kind: "reinitialize", node: 0, to: 2, n: 41},
			{at: 40556410631, lasts: 346293005, kind: "agent stopped", node: 2, to: 0, n: 26}}},
	{name: "found_102224598637907_given_up_after_it_was_lost", seed: 102224598637917649, nodes: 4, until: 90 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1048576}`, faults: []fault{
			{at: 33353076648, lasts: 13116781594, kind: "freeze server", node: 3, to: 3, n: 20},
			{at: 38420524976, lasts: 27135230971, kind: "suspend machine", node: 1, to: 3, n: 49}}},
	{name: "found_90876766593291_restart_beside_a_reload", seed: 90876766593291, nodes: 4, until: 60 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":16384,"commit_gate":true,"failsafe_mode":true}`, faults: []fault{
			{at: 6774699471, lasts: 23933123949, kind: "gate refused", node: 1, to: 3, n: 19},
			{at: 14566204577, lasts: 3009378754, kind: "durability changed", node: 2, to: 0, n: 2},
			{at: 19 * s, lasts: 2621000604, kind: "restart", node: 1, to: 0, n: 25}}},
	{name: "found_274965919865769_promotion_beside_a_reload", seed: 16711502833835294391, nodes: 3, until: 90 * s,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1024,"commit_gate":true,"failsafe_mode":true}`, faults: []fault{
			{at: 42360017869, lasts: 14793603738, kind: "disk stalls", node: 0, to: 1, n: 48},
			{at: 38666109212, lasts: 2705226620, kind: "power off", node: 2, to: 0, n: 38},
			{at: 46742356975, lasts: 1979919231, kind: "durability changed", node: 0, to: 0, n: 4},
			{at: 53655862700, lasts: 7672587407, kind: "freeze agent and gate", node: 0, to: 3, n: 12}}},
	{name: "found_203781195459662_term_heard_of_after_it_was_taken_over", seed: 203781195459662012, nodes: 4, until: 60 * s,
		settings: `{"ttl":30,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":262144,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":2,"fast_failover":true}`, faults: []fault{
			{at: 43054069023, lasts: 1739508500, kind: "kill worker", node: 3, to: 3, n: 41},
			{at: 28309206793, lasts: 829121898, kind: "kill guard", node: 2, to: 3, n: 44},
			{at: 29539031919, lasts: 836397286, kind: "kill agent", node: 1, to: 2, n: 36},
			{at: 37647653765, lasts: 3490164061, kind: "repeated requests", node: 2, to: 2, n: 46},
			{at: 43844855567, lasts: 10583026633, kind: "freeze agent", node: 3, to: 2, n: 48},
			{at: 37464165886, lasts: 18535834114, kind: "slow wire", node: 3, to: 0, n: 7},
			{at: 51392247724, lasts: 2636274198, kind: "suspend machine", node: 3, to: 3, n: 39},
			{at: 22709312065, lasts: 6555747041, kind: "one-way cut", node: 3, to: 0, n: 18}}},
	{name: "found_102852680006123_guard_frozen_before_the_store_has_the_pause", seed: 102852680006123001, nodes: 3, until: 60 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":2048,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":1,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 19395765268, lasts: 635706507, kind: "cut from etcd", node: 1, to: 0, n: 9},
			{at: 21619586169, lasts: 6174986567, kind: "freeze guard", node: 0, to: 1, n: 33},
			{at: 7963794414, lasts: 7245372398, kind: "failover", node: 1, to: 0, n: 37},
			{at: 19757107744, lasts: 2942258580, kind: "pause", node: 1, to: 0, n: 22},
			{at: 21887318159, lasts: 7674414836, kind: "isolated", node: 0, to: 0, n: 43}}},
	{name: "found_88108925952056_list_sent_with_the_questions", seed: 88108925952056, nodes: 3, until: 80 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":2048,"commit_gate":true,"failsafe_mode":true}`, faults: []fault{
			{at: 40890838730, lasts: 1190142632, kind: "answers lost", node: 2, to: 0, n: 16},
			{at: 42867380109, lasts: 5887765113, kind: "requests lost", node: 0, to: 0, n: 44},
			{at: 21098235201, lasts: 20308214088, kind: "power off", node: 0, to: 1, n: 16},
			{at: 24161446074, lasts: 484455802, kind: "etcd leader change", node: 2, to: 2, n: 29},
			{at: 22333503368, lasts: 917095889, kind: "requests lost", node: 1, to: 1, n: 12},
			{at: 17039697268, lasts: 29588948734, kind: "calls late", node: 0, to: 2, n: 43},
			{at: 15622781729, lasts: 8240330746, kind: "freeze worker", node: 1, to: 2, n: 32},
			{at: 24390393693, lasts: 24043340045, kind: "too much to do", node: 1, to: 3, n: 25}}},
	{name: "found_76319871900396_rule_given_up_that_commits_rested_on", seed: 76319871900396620, nodes: 3, until: 90 * s,
		settings: `{"ttl":30,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":4096,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 52473783483, lasts: 7826915893, kind: "one-way cut", node: 2, to: 1, n: 13},
			{at: 10995237751, lasts: 3126782899, kind: "disk hangs", node: 1, to: 0, n: 28},
			{at: 49405705855, lasts: 3920715498, kind: "slow wire", node: 1, to: 0, n: 22},
			{at: 35338663169, lasts: 2273646946, kind: "busy backend", node: 1, to: 0, n: 43},
			{at: 39488556403, lasts: 7233017106, kind: "kill guard", node: 2, to: 1, n: 53},
			{at: 53359969490, lasts: 8176386631, kind: "disk hangs", node: 0, to: 0, n: 22},
			{at: 52911043579, lasts: 7442521126, kind: "freeze worker", node: 2, to: 1, n: 31},
			{at: 55456572372, lasts: 4873440511, kind: "agent stopped", node: 0, to: 2, n: 41},
			{at: 30868884766, lasts: 5303742521, kind: "one-way cut", node: 0, to: 0, n: 34},
			{at: 6460566453, lasts: 5475543275, kind: "kill agent", node: 2, to: 3, n: 17},
			{at: 45271354611, lasts: 2843013059, kind: "one-way cut", node: 0, to: 0, n: 7},
			{at: 49566967664, lasts: 367293842, kind: "fast_failover changed", node: 2, to: 0, n: 28}}},
	{name: "found_256953898232953_waited_for_and_not_listed", seed: 256953898232953, nodes: 3, healed: 60 * s, until: 130 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":2048,"synchronous_mode":"on","synchronous_mode_strict":false,"synchronous_node_count":1,"failsafe_mode":true}`, faults: []fault{
			{at: 53095931692, lasts: 12504291428, kind: "agent stopped", node: 2, to: 0, n: 4},
			{at: 48836335373, lasts: 6660686392, kind: "etcd restored", node: 2, to: 0, n: 45},
			{at: 52301390676, lasts: 4267146218, kind: "isolated", node: 1, to: 1, n: 32},
			{at: 30885190460, lasts: 19018391623, kind: "kill agent", node: 0, to: 2, n: 31}}},
	{name: "found_1119512_hand_over_taken_up_again", faults: []fault{toward(2, 10*s, "switchover"),
		on(2, 10163300*time.Microsecond, "cut from etcd", 50*time.Millisecond, 0),
		on(2, 10163600*time.Microsecond, "freeze worker", 4600*time.Millisecond, 0)}},
	{name: "found_271410471345493_two_promotions_at_one_position", seed: 271410471345493, nodes: 4, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":3,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":4096}`, faults: []fault{
			{at: 7837629457, lasts: 13218726350, kind: "repeated requests", node: 2, to: 2, n: 46},
			{at: 24965447483, lasts: 7751760713, kind: "isolated", node: 1, to: 3, n: 25},
			{at: 35133991865, lasts: 9494886263, kind: "suspend machine", node: 3, to: 3, n: 11},
			{at: 30194230630, lasts: 25000000000, kind: "promotion dies", node: 3, to: 1, n: 30},
			{at: 31194230630, lasts: 15000000000, kind: "power off", node: 1, to: 0, n: 39},
			{at: 19079170935, lasts: 25000000000, kind: "promotion dies", node: 0, to: 1, n: 9},
			{at: 20079170935, lasts: 7000000000, kind: "power off", node: 3, to: 0, n: 42}}},
	{name: "found_81575592923234_suspended_in_a_promotion_with_its_guard_frozen", seed: 81575592923234, nodes: 3, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":3,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":16384,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"fast_failover":true}`, faults: []fault{
			{at: 31035273703, lasts: 923915638, kind: "agent stopped", node: 1, to: 1, n: 6},
			{at: 31241914148, lasts: 5884409416, kind: "suspend machine", node: 1, to: 0, n: 29},
			{at: 34071959254, lasts: 18380969328, kind: "freeze guard", node: 0, to: 0, n: 8},
			{at: 9728295600, lasts: 10106131898, kind: "power off", node: 1, to: 0, n: 1},
			{at: 26416505113, lasts: 20188995515, kind: "one-way cut", node: 2, to: 0, n: 13}}},
	{name: "found_5037143_upstream_by_tag_of_a_revoked_term", seed: 5037143, nodes: 3, until: 60 * s,
		settings: `{"ttl":20,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1048576,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 12531557948, lasts: 190634028, kind: "agent stopped", node: 1, to: 0, n: 7},
			{at: 14931330331, lasts: 1852852009, kind: "isolated", node: 0, to: 0, n: 46},
			{at: 12112220792, lasts: 39654044663, kind: "tags changed", node: 0, to: 3, n: 256}}},
	{name: "worker_killed_in_failsafe", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"failsafe_mode":true}`,
		faults: []fault{{at: 10 * s, kind: "everybody cut from etcd", lasts: 20 * s, to: 3}, lead(15*s, "kill worker", 0, 0), on(2, 17*s, "kill worker", 0, 0)}},
	{name: "found_266367764927229_lease_of_another_length_in_failsafe", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"failsafe_mode":true}`,
		faults: []fault{lead(10*s, "refused requests", 15*s, 100), lead(12*s, "ttl changed", 0, 7)}, until: 60 * s},
	{name: "found_241491008615320_rules_that_came_back", seed: 14920137617337396165, nodes: 3, until: 60 * s,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":16384,"synchronous_mode":"on","synchronous_mode_strict":false,"synchronous_node_count":1}`, faults: []fault{
			{at: 15686611155, lasts: 26657072548, kind: "repeated requests", node: 2, to: 2, n: 22},
			{at: 17319193159, lasts: 18705052900, kind: "isolated", node: 2, to: 0, n: 25},
			{at: 6672912629, lasts: 30274606852, kind: "receiver stuck", node: 2, to: 0, n: 57},
			{at: 16374895664, lasts: 1948249686, kind: "failover", node: 1, to: 2, n: 17},
			{at: 13390483100, lasts: 360298801, kind: "power off", node: 2, to: 1, n: 9}}},
	{name: "found_1200000437_configuration_of_a_pause_that_repoints", faults: []fault{
		on(3, 10*s, "stale etcd leader", 10*s, 0), toward(2, 12*s, "switchover"), lead(15*s, "pause", 15*s, 0)}},
	{name: "found_1300006883_pause_that_undoes_a_promise", seed: 1300006883272, nodes: 5, until: 60 * s,
		settings: `{"ttl":30,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1024,"synchronous_mode":"on","synchronous_mode_strict":true,"synchronous_node_count":2,"failsafe_mode":true,"fast_failover":true}`, faults: []fault{
			{at: 25540260335, lasts: 1991743302, kind: "pause", node: 1, to: 0, n: 6},
			{at: 24501893475, lasts: 879757429, kind: "isolated", node: 3, to: 3, n: 40}}},
	{name: "found_346_fence_again_and_again", seed: 346004005, nodes: 3, until: 60 * s,
		settings: `{"ttl":3,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":524288}`, faults: []fault{
			{at: 27217666083, lasts: 125126400, kind: "kill agent", node: 1, to: 2, n: 38},
			{at: 28777105025, lasts: 7723858465, kind: "freeze worker", node: 2, to: 0, n: 25}}},
	{name: "found_1613_member_key_on_a_lease_nobody_keeps", seed: 1613002009, nodes: 3, until: 60 * s,
		settings: `{"ttl":10,"loop_wait":5,"retry_timeout":3,"maximum_lag_on_failover":4096}`, faults: []fault{
			{at: 6718977457, lasts: 22880497514, kind: "slow wire", node: 0, to: 0, n: 49},
			{at: 21374372841, lasts: 6957991153, kind: "ttl changed", node: 0, to: 2, n: 48}}},
	{name: "found_2376_guard_frozen_just_before_its_deadline", faults: []fault{
		lead(10*s, "isolated", 14*s, 0), lead(13*s+700*time.Millisecond, "freeze guard", 2*s, 0)}},
	{name: "found_4476_start_that_nobody_ends", seed: 4476005, nodes: 4, until: 60 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":524288}`, faults: []fault{
			{at: 10900766520, lasts: 7417772712, kind: "freeze server", node: 2, to: 1, n: 19},
			{at: 15062433051, lasts: 74884302, kind: "kill guard", node: 1, to: 3, n: 52}}},
	{name: "found_19044_two_sessions_at_once", faults: []fault{
		lead(10*s, "slow wire", 20*s, 6), lead(11870*time.Millisecond, "ttl changed", 0, 7), lead(12600*time.Millisecond, "freeze worker", 4960*time.Millisecond, 0)}, until: 60 * s},
	{name: "found_547_late_store_hides_the_overdue_guard", seed: 17073114400688354322, nodes: 4, until: 60 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1048576}`, faults: []fault{
			{at: 46983533990, lasts: 9016466010, kind: "freeze guard", node: 2, to: 3, n: 39},
			{at: 19494278343, lasts: 929868227, kind: "power off", node: 0, to: 3, n: 40},
			{at: 29524250062, lasts: 26475749938, kind: "late requests", node: 2, to: 3, n: 18}}},
	{name: "found_243821392875696_lease_given_away_while_the_guard_starts_a_server", seed: 243821392875696, nodes: 5, until: 60 * s,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":262144}`, faults: []fault{
			{at: 22964011368, lasts: 716212282, kind: "disk full", node: 2, to: 0, n: 34},
			{at: 23708389498, lasts: 5235426222, kind: "freeze agent", node: 0, to: 4, n: 36},
			{at: 26114947567, lasts: 15668204276, kind: "agent stopped", node: 1, to: 0, n: 38}}},
	{name: "found_165572181523580_new_worker_of_a_frozen_guard", faults: []fault{
		lead(10*s, "freeze guard", 20*s, 0), lead(10*s+70*time.Millisecond, "kill worker", 0, 0)}, until: 60 * s},
	{name: "found_265591737878596_new_worker_of_a_frozen_guard_at_the_deadline", faults: []fault{
		lead(10*s, "isolated", 14*s, 0), lead(13*s+700*time.Millisecond, "freeze guard", 2*s, 0), lead(14*s, "kill worker", 0, 0)}},
	{name: "found_44635320338865_shorter_lease_that_the_guard_never_heard_of", seed: 7741832191445904771, nodes: 5, until: 100 * s,
		settings: `{"ttl":30,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":32768}`, faults: []fault{
			{at: 49253464930, lasts: 4237726795, kind: "lossy wire", node: 3, to: 3, n: 20},
			{at: 49829409959, lasts: 2748636353, kind: "ttl changed", node: 0, to: 0, n: 29},
			{at: 51680948896, lasts: 32411990558, kind: "freeze worker", node: 1, to: 0, n: 14}}},
	{name: "gate_and_agent_frozen", settings: withGate, faults: []fault{lead(10*s, "freeze agent and gate", 20*s, 1)}, until: 60 * s},
	{name: "gate_goes_on_while_its_agent_is_frozen", settings: withGate, faults: []fault{lead(10*s, "freeze agent", 20*s, 0)}, until: 60 * s},
	{name: "gate_killed", settings: withGate, faults: []fault{lead(10*s, "kill gate", 0, 0)}},
	{name: "gate_killed_while_its_guard_is_frozen", settings: withGate, faults: []fault{lead(10*s, "freeze guard", 3*s, 0), lead(11*s, "kill gate", 0, 0)}},
	{name: "gate_frozen", settings: withGate, faults: []fault{lead(10*s, "freeze gate", 20*s, 0)}},
	{name: "gate_refused", settings: withGate, faults: []fault{lead(10*s, "gate refused", 8*s, 0), lead(11*s, "loop_wait changed", 0, 3)}},
	{name: "gate_and_server_frozen", settings: withGate, faults: []fault{lead(10*s, "suspend machine", 20*s, 0)}, until: 60 * s},
	{name: "gate_and_a_guest_that_stands_still", settings: withGate, faults: []fault{lead(10*s, "guest stands still", 20*s, 0)}, until: 60 * s},
	{name: "gate_and_a_wall_clock_that_jumps", settings: withGate, faults: []fault{lead(10*s, "wall clock jumps", 0, 30)}},
	{name: "gate_to_quorum_and_back", settings: withGate, faults: []fault{lead(10*s, "durability changed", 10*s, 1)}},
	{name: "quorum_to_gate_and_back", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`,
		faults: []fault{lead(10*s, "durability changed", 10*s, 0)}},
	{name: "gate_to_quorum_and_the_primary_dies", settings: withGate, faults: []fault{lead(10*s, "durability changed", 0, 1), lead(10*s+500*time.Millisecond, "power off", 20*s, 0)}, until: 60 * s},
	{name: "gate_turned_off_while_etcd_is_gone", settings: withGate, faults: []fault{lead(10*s, "durability changed", 0, 4), lead(10*s, "cut from etcd", 15*s, 0)}},
	{name: "gate_lost_with_its_guard_while_the_server_is_frozen", settings: withGate, faults: []fault{
		lead(10*s, "freeze server", 1500*time.Millisecond, 0), lead(10*s+100*time.Millisecond, "kill guard", 0, 0)}},
	{name: "quorum_primary_loses_power", settings: withFast, faults: []fault{lead(10*s, "power off", 15*s, 0)}},
	{name: "quorum_primary_isolated", settings: withFast, faults: []fault{lead(10*s, "isolated", 8*s, 0)}},
	{name: "quorum_primary_isolated_while_a_standby_lags", settings: withFast, faults: []fault{on(2, 10*s, "receiver stuck", 2*s, 0), lead(11*s, "isolated", 8*s, 0), on(3, 11*s, "disk stalls", 3*s, 40)}},
	{name: "quorum_primary_isolated_past_its_lease", settings: withFast, faults: []fault{lead(10*s, "isolated", 25*s, 0)}, until: 60 * s},
	{name: "quorum_primary_cut_from_its_standbys", settings: withFast, faults: []fault{lead(10*s, "cut from servers", 8*s, 0)}},
	{name: "quorum_primary_cut_from_one_standby", settings: withFast, faults: []fault{{at: 10 * s, kind: "one-way cut", lasts: 8 * s, to: 1, exact: true}}},
	{name: "found_by_reading_voter_that_has_yet_to_read_its_wal", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`,
		faults: []fault{on(3, 12*s, "receiver stuck", 60*s, 0), lead(14*s, "power off", 60*s, 0), on(2, 14*s, "power off", 9*s, 0)}, until: 100 * s},
	{name: "found_by_reading_names_while_a_checkpoint_is_under_way", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum"}`,
		faults: []fault{lead(10*s, "cut from servers", 12*s, 0), lead(20*s, occupied, 10*s, 0), lead(25*s, "power off", 20*s, 0)}, until: 60 * s},
	{name: "everybody_loses_power", faults: []fault{on(1, 10*s, "power off", 5*s, 0), on(2, 10*s, "power off", 6*s, 0), on(3, 10*s, "power off", 7*s, 0)}},
	{name: "found_273912765411119_server_frozen_in_its_promotion", faults: []fault{lead(10*s, "agent stopped", 3*s, 0), on(2, 10160*time.Millisecond, "freeze server", 12*s, 0), on(3, 13*s, "pause", 4*s, 0)}},
	{name: "found_235328531542812_shared_with_a_sibling", seed: 235328531542812, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":8192,"synchronous_mode":"quorum","synchronous_mode_strict":false,"synchronous_node_count":1,"failsafe_mode":true}`, faults: []fault{
			{at: 48876788307, lasts: 12561509848, kind: "agent stopped", node: 2, to: 2, n: 15},
			{at: 22099405852, lasts: 28398216459, kind: "cut from servers", node: 2, to: 1, n: 15},
			{at: 31283393448, lasts: 20103096132, kind: "member removed", node: 2, to: 0, n: 23},
			{at: 32611362625, lasts: 11757837197, kind: "failover forced", node: 2, to: 2, n: 5}}},
	{name: "found_273912765417866_start_that_nobody_asked_after", seed: 273912765417866, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":32768,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1}`, faults: []fault{
			{at: 38436689934, lasts: 2081008684, kind: "freeze agent", node: 0, to: 2, n: 46},
			{at: 39963166339, lasts: 19872590057, kind: "power off", node: 2, to: 1, n: 14},
			{at: 41817988128, lasts: 1584765646, kind: "power off", node: 0, to: 1, n: 42},
			{at: 44463941465, lasts: 13556474405, kind: "freeze guard", node: 0, to: 1, n: 21}}},
	{name: "found_90876766579353_asked_without_end", seed: 90876766579353, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":5,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":262144,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":2,"failsafe_mode":true}`, faults: []fault{
			{at: 43242254413, lasts: 14847061998, kind: "requests lost", node: 2, to: 0, n: 13},
			{at: 42124427993, lasts: 4547323343, kind: "cut from servers", node: 0, to: 0, n: 15},
			{at: 48659863713, lasts: 4762328858, kind: "etcd without leader", node: 1, to: 2, n: 28},
			{at: 41141958080, lasts: 27095891045, kind: "kill agent", node: 2, to: 2, n: 45}}},
	{name: "found_180721593688890_primary_that_has_everything", seed: 180721593688890, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":1048576,"synchronous_mode":"quorum","synchronous_mode_strict":false,"synchronous_node_count":1}`, faults: []fault{
			{at: 46657184858, lasts: 7299518417, kind: "slow wire", node: 1, to: 0, n: 29},
			{at: 48872657107, lasts: 300489682, kind: "reinitialize", node: 0, to: 1, n: 18},
			{at: 48952687050, lasts: 11916223549, kind: "power off", node: 1, to: 1, n: 48},
			{at: 25855531220, lasts: 657016240, kind: "failover forced", node: 2, to: 1, n: 7},
			{at: 48787167872, lasts: 0, kind: "reinitialize", node: 2, to: 1, n: 1}}},
	{name: "found_1300001470_mark_that_is_being_taken_back", settings: `{"ttl":10,"loop_wait":2,"retry_timeout":3}`, until: 60 * s, faults: []fault{lead(10*s, "pause", 2*s, 0), lead(11900*time.Millisecond, "late requests", 400*time.Millisecond, 100),
		lead(12600*time.Millisecond, "pause", 20*s, 0), lead(13*s, "cut from etcd", 25*s, 0)}},
	{name: "found_267215809440415_promoted_without_its_gate", faults: []fault{lead(14*s, "power off", 10*s, 0), on(2, 17800*time.Millisecond, "pause", 180*time.Millisecond, 0), on(2, 17960*time.Millisecond, "backend crashes", 0, 0), on(2, 18*s, "durability changed", 0, 5)}},
	{name: "found_233502850327440_rule_that_nobody_can_confirm", seed: 233502850327440, until: 110 * s, healed: 60 * s, nodes: 5,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":262144,"failsafe_mode":true}`, faults: []fault{
			{at: 7614527732, lasts: 19882352654, kind: "no connections", node: 0, to: 3, n: 21},
			{at: 17445892645, lasts: 291285188, kind: "agent stopped", node: 4, to: 4, n: 15},
			{at: 41868177056, lasts: 6630903634, kind: "loop_wait changed", node: 1, to: 4, n: 35},
			{at: 42586979748, lasts: 16205654489, kind: "disk stalls", node: 4, to: 0, n: 35},
			{at: 31576233164, lasts: 754444856, kind: "slow wire", node: 0, to: 3, n: 13},
			{at: 30879683785, lasts: 406131306, kind: "durability changed", node: 4, to: 3, n: 16},
			{at: 24724397804, lasts: 6718422308, kind: "durability changed", node: 2, to: 3, n: 9},
			{at: 48514131478, lasts: 772211312, kind: "durability changed", node: 3, to: 0, n: 23},
			{at: 31517224117, lasts: 16199555962, kind: "power off", node: 3, to: 1, n: 18},
			{at: 21048668446, lasts: 15271560134, kind: "kill worker", node: 2, to: 4, n: 14},
			{at: 29699633551, lasts: 14542218210, kind: "power off", node: 2, to: 2, n: 50},
			{at: 27220460491, lasts: 16856127356, kind: "long checkpoint", node: 0, to: 3}}},
	{name: "found_3108663_restarted_in_a_pause_without_a_lease", until: 21 * s,
		faults: []fault{lead(10*s, "pause", 10*s, 0), on(1, 12*s, "agent stopped", 3*s, 0), on(1, 13*s, "restart", 0, 0)}},
	{name: "found_229719467643444_promise_overwritten", seed: 8358538758929442610, nodes: 3, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":30,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":8192,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"fast_failover":true}`, faults: []fault{
			{at: 30480177582, lasts: 10187458387, kind: "failover", node: 0, to: 1, n: 27},
			{at: 32376434824, lasts: 3224764752, kind: "lossy wire", node: 2, to: 1, n: 9},
			{at: 28660202332, lasts: 22260448820, kind: "late requests", node: 0, to: 1, n: 38},
			{at: 28227462749, lasts: 14384102104, kind: "kill worker", node: 2, to: 1, n: 40},
			{at: 38883344496, lasts: 7641982737, kind: "freeze agent", node: 0, to: 3, n: 12},
			{at: 40725157062, lasts: 1702345603, kind: "isolated", node: 0, to: 0, n: 52}}},
	{name: "found_127928610334676_promotion_that_came_late", settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3}`, until: 80 * s, faults: []fault{lead(10*s, "power off", 25*s, 0), on(2, 29170*time.Millisecond, "disk hangs", 30*s, 0),
		on(3, 33300*time.Millisecond, "pause", 30*s, 0), on(2, 34*s, "cut from etcd", 28*s, 0)}},
	{name: "found_125361665273762_full_record_of_rules", seed: 125361665273763899, nodes: 5, until: 90 * s, healed: 60 * s,
		settings: `{"ttl":30,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":65536,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":2}`, faults: []fault{
			{at: 9048660414, lasts: 994704834, kind: "kill agent", node: 1, to: 0, n: 16},
			{at: 19284190326, lasts: 3760729, kind: "kill guard", node: 0, to: 0, n: 37},
			{at: 18733095766, lasts: 738810077, kind: "pause", node: 0, to: 4, n: 36},
			{at: 12636815805, lasts: 6266636963, kind: "kill guard", node: 3, to: 0, n: 31},
			{at: 33164384982, lasts: 12069468482, kind: "kill server", node: 0, to: 1, n: 50}}},
}

// handStories are about what operators do by hand, and about tags.
var handStories = []story{
	{name: "copied_standby_lags_and_the_primary_dies", settings: withFast, faults: []fault{on(2, 10*s, tagsChanged, 90*s, 11), on(2, 11*s, "receiver stuck", 30*s, 0),
		on(3, 11500*time.Millisecond, "reinitialize", 0, 0), lead(12*s, "power off", 25*s, 0)}, until: 80 * s},
	{name: "leader_key_deleted", faults: []fault{lead(10*s, "leader key deleted", 0, 0)}},
	{name: "lease_of_the_primary_revoked", faults: []fault{lead(10*s, "member lease revoked", 0, 0)}},
	{name: "configuration_deleted_and_the_primary_dies", faults: []fault{lead(10*s, "configuration deleted", 25*s, 0), lead(12*s, "power off", 10*s, 0)}, until: 50 * s},
	{name: "member_removed_and_back", faults: []fault{on(3, 10*s, "member removed", 20*s, 0)}, until: 50 * s},
	{name: "failover_forced_in_a_pause", faults: []fault{lead(10*s, "pause", 25*s, 0), {at: 15 * s, lasts: 12 * s, kind: "failover forced", to: 1, exact: true, n: 1}}, until: 60 * s},
	{name: "found_6974_catching_up_through_a_slot_that_is_missing", nodes: 4, settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":2}`, faults: []fault{
		on(2, 12*s, "receiver stuck", 8*s, 0), lead(13*s, "power off", 50*s, 0), on(3, 14*s, tagsChanged, 60*s, 1), on(4, 14*s, tagsChanged, 60*s, 1)}, until: 66 * s},
	{name: "found_by_writing_copy_of_a_primary_that_was_stopped", led: 20 * s, until: 70 * s, settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`,
		faults: []fault{lead(10*s, "cut from servers", 40*s, 0), on(1, 17*s, "agent stopped", 30*s, 0)}},
	{name: "found_by_writing_copy_that_gives_nothing", nodes: 4, led: 26 * s, until: 80 * s, settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`, faults: []fault{
		on(4, 10*s, tagsChanged, 60*s, 2), on(2, 11*s, "receiver stuck", 3*s, 0), on(3, 11*s, "receiver stuck", 3*s, 0), lead(12*s, "power off", 50*s, 0),
		on(4, 12100*time.Millisecond, "cut from servers", 50*s, 0), on(2, 16*s, "cut from etcd", s, 0), on(3, 16*s, "cut from etcd", s, 0)}},
	{name: "found_by_writing_upstream_that_receives_nothing", led: 35 * s, until: 90 * s, settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`,
		faults: []fault{{at: 10 * s, lasts: 60 * s, kind: tagsChanged, node: 2, to: 1, n: 4}, on(2, 20*s, "receiver stuck", 30*s, 0)}},
	{name: "found_by_writing_wal_that_is_gone", until: 70 * s, faults: []fault{on(3, 10*s, "member removed", 30*s, 0), lead(20*s, loaded, 0, 400), lead(22*s, "agent stopped", 5*s, 0)}},
	{name: "found_by_writing_switchover_of_before_a_pause", until: 30100 * time.Millisecond, faults: []fault{toward(2, 10*s, "switchover"), lead(10050*time.Millisecond, "pause", 20*s, 0)}},
	{name: "found_by_writing_rolled_back_and_gone_through", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"synchronous_mode":"quorum","synchronous_mode_strict":true}`,
		led: 12480 * time.Millisecond, faults: []fault{on(1, 10*s, "restart scheduled", 0, 4), toward(2, 11960*time.Millisecond, "switchover")}},
	{name: "nofailover_tagged_while_the_primary_dies", faults: []fault{on(2, 10*s, tagsChanged, 20*s, 1), lead(11*s, "power off", 15*s, 0)}, until: 50 * s},
	{name: "found_1190_bootstrap_beside_the_data", settings: `{"ttl":20,"loop_wait":2,"retry_timeout":3}`, faults: []fault{on(2, 10*s, "reinitialize", 0, 0), lead(10500*time.Millisecond, "power off", 30*s, 0), on(2, 12*s, "initialize deleted", 0, 0)}, until: 80 * s},
	{name: "found_703_identifier_deleted_while_the_agent_is_away", faults: []fault{lead(10*s, "kill agent", 3*s, 0), on(2, 10100*time.Millisecond, "initialize deleted", 0, 0)}, until: 50 * s},
	{name: "found_56_tags_that_stayed", faults: []fault{{at: 10 * s, lasts: 10 * s, kind: tagsChanged, node: 2, to: 1, n: 4}}},
	{name: "found_269592999147691_wish_that_no_key_can_answer", faults: []fault{lead(10*s, "power off", 15*s, 0), on(2, 11*s, "failover without sense", 0, 13)}, until: 60 * s},
	{name: "found_269592999146928_behind_what_was_published", until: 80 * s,
		settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":1024,"synchronous_mode":"quorum","synchronous_mode_strict":true}`,
		faults: []fault{lead(10*s, "cut from servers", 10*s, 0), lead(14*s, "power off", 40*s, 0), lead(16*s, "durability changed", 0, 2),
			on(2, 19050*time.Millisecond, "cut from etcd", 2*s, 0), on(2, 19500*time.Millisecond, "power off", 3*s, 0)}},
	{name: "found_191195116773045_forced_to_the_old_primary", faults: []fault{lead(10*s, "pause", s, 0), lead(10300*time.Millisecond, "agent stopped", 15*s, 0), {at: 17 * s, lasts: 5 * s, kind: "failover forced", exact: true, n: 1}}},
	{name: "found_275121549189268_list_of_one_that_does_not_lead", seed: 275121549189268, nodes: 3, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":3,"loop_wait":2,"retry_timeout":3,"maximum_lag_on_failover":4096,"synchronous_mode":"on","synchronous_mode_strict":false,"synchronous_node_count":2,"failsafe_mode":true}`, faults: []fault{
			{at: 31362847487, lasts: 6189882240, kind: "cut from etcd", node: 2, to: 0, n: 7},
			{at: 15921033917, lasts: 19073693437, kind: "agent stopped", node: 0, to: 0, n: 14},
			{at: 21677468607, lasts: 19758715532, kind: "freeze worker", node: 2, to: 2, n: 2},
			{at: 34530560622, lasts: 5686955691, kind: "power off", node: 1, to: 0, n: 48},
			{at: 39193747102, lasts: 1391245626, kind: "failover forced", node: 0, to: 0, n: 25},
			{at: 27617608145, lasts: 25000000000, kind: "promotion dies", node: 0, to: 1, n: 23}}},
	{name: "found_272204941691557_forced_and_taken_back", seed: 272204941691557, nodes: 3, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":3,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":16384,"commit_gate":true}`, faults: []fault{
			{at: 24669265704, lasts: 4286435371, kind: "slow wire", node: 0, to: 0, n: 17},
			{at: 22385417667, lasts: 630575194, kind: "synchronous_node_count changed", node: 0, to: 2, n: 24},
			{at: 24230396446, lasts: 778488469, kind: "failover forced", node: 1, to: 0, n: 24},
			{at: 7882882940, lasts: 25000000000, kind: "promotion dies", node: 2, to: 1, n: 42},
			{at: 8882882940, lasts: 13000000000, kind: "power off", node: 2, to: 0, n: 9},
			{at: 19164097547, lasts: 9853918983, kind: "cut from etcd", node: 0, to: 0, n: 22}}},
	{name: "found_242466615675312_rules_that_were_passed_over", seed: 242466615675312, nodes: 4, healed: 60 * s, until: 90 * s,
		settings: `{"ttl":10,"loop_wait":10,"retry_timeout":3,"maximum_lag_on_failover":2048,"synchronous_mode":"quorum","synchronous_mode_strict":true,"synchronous_node_count":1,"fast_failover":true}`, faults: []fault{
			{at: 22888782123, lasts: 827790124, kind: "ttl changed", node: 3, to: 2, n: 34},
			{at: 28544576054, lasts: 294469259, kind: "repeated requests", node: 3, to: 1, n: 41},
			{at: 31509778176, lasts: 529779251, kind: "kill guard", node: 3, to: 3, n: 29},
			{at: 22968121873, lasts: 2586549345, kind: "cut from servers", node: 2, to: 0, n: 19},
			{at: 23550840431, lasts: 1877549399, kind: "reinitialize", node: 3, to: 2, n: 39},
			{at: 28458567212, lasts: 6855811633, kind: "loop_wait changed", node: 3, to: 2, n: 13},
			{at: 15505490550, lasts: 21904440204, kind: "switchover", node: 2, to: 0, n: 3},
			{at: 19249685972, lasts: 4141622077, kind: "kill agent", node: 3, to: 0, n: 32},
			{at: 29436670930, lasts: 8116589085, kind: "failover forced", node: 0, to: 0, n: 8},
			{at: 31003660147, lasts: 463264148, kind: "synchronous_node_count changed", node: 2, to: 3, n: 11},
			{at: 32011794588, lasts: 719015387, kind: "maximum_lag changed", node: 1, to: 1, n: 40},
			{at: 24913284868, lasts: 25000000000, kind: "promotion dies", node: 2, to: 1, n: 48},
			{at: 25913284868, lasts: 6000000000, kind: "power off", node: 2, to: 0, n: 41},
			{at: 36949829132, lasts: 18000000000, kind: "power off", node: 1, to: 0, n: 11}}},
	{name: "found_115059874810091_list_of_the_primary_before", settings: `{"ttl":5,"loop_wait":2,"retry_timeout":3,"failsafe_mode":true}`, until: 60 * s,
		faults: []fault{{at: 10 * s, lasts: 90 * s, kind: tagsChanged, to: 1, n: 1}, on(2, 10100*time.Millisecond, "power off", 15*s, 0), on(3, 10200*time.Millisecond, "cut from etcd", 12*s, 0),
			lead(19*s, "power off", 26*s, 0), {at: 30 * s, lasts: 20 * s, kind: "failover forced", to: 2, exact: true, n: 1}, on(3, 30100*time.Millisecond, "power off", 18*s, 0)}},
	{name: "found_140272159913898_forced_to_nobody", faults: []fault{lead(10*s, "pause", 4*s, 0), lead(12*s, "cut from etcd", 20*s, 0), on(2, 17*s, "failover without sense", 0, 15)}},
}

// TestStories compares what happens with what is written in testdata.
func TestStories(t *testing.T) {
	for _, c := range slices.Concat(stories, handStories, watchdogStories) {
		t.Run(c.name, func(t *testing.T) {
			got := c.tell(t)
			path := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != got {
				t.Errorf("%s tells another story (go test ./test/sim -update writes it anew, go run ./test/sim/mistake then tells whether it shows what it is kept for): %s", path, diff(string(want), got))
			}
		})
	}
}

// whole is the story with what it leaves out.
func (c story) whole() story {
	if c.nodes == 0 {
		c.nodes = 3
	}
	if c.settings == "" {
		c.settings = `{"ttl":5,"loop_wait":2,"retry_timeout":3}`
	}
	if c.until == 0 {
		c.until = 40 * s
	}
	return c
}

// world is where the story happens; it has not begun.
func (c story) world(threads *pool, told bool) *World {
	w := newWorld(threads, max(c.seed, 1), c.nodes, c.settings, told)
	w.house(c.kennels)
	w.mix(c.patroni)
	for i, n := range w.nodes {
		start := time.Duration(i) * time.Millisecond
		if c.seed != 0 { // as schedule.run has it
			start = w.jitter(300 * time.Millisecond)
		}
		w.after(start, doing(n.power))
	}
	w.plan(c.faults)
	if len(c.patroni) > 0 { // its loop is slow: somebody must look at the clients before the end
		w.at(c.until-100*time.Millisecond, doing(func() { w.site.Advance(w.serverNow()) }))
	}
	if c.healed != 0 {
		w.at(c.healed, doing(w.heal))
	}
	return w
}

func (c story) tell(t *testing.T) string {
	t.Helper()
	c = c.whole()
	threads := &pool{}
	defer threads.close()
	w := c.world(threads, true)
	defer w.close()
	title := strings.ReplaceAll(c.name, "_", " ") + "; " + c.settings
	if len(c.faults) == 0 || c.faults[0].at < 9*s || c.seed != 0 {
		w.line("", title)
	} else {
		w.runUntil(9900 * time.Millisecond)
		if !w.nodes[0].holds() || !w.settled() {
			t.Fatalf("at the beginning: %s", w.unsettled())
		}
		w.text = w.text[:0]
		w.line("", title)
		w.line("pg1", "leads, everybody follows, clients write all the time")
	}
	if c.led != 0 {
		w.runUntil(c.led)
		w.site.Advance(w.serverNow())
		if !slices.ContainsFunc(w.nodes, func(n *Node) bool { return n.serves() && w.flows(n) }) {
			t.Errorf("nobody leads at %s, or commits wait: %s", c.led, w.unsettled())
		}
	}
	w.runUntil(c.until)
	if w.violation == "" && w.settled() == c.stuck || w.astray {
		t.Errorf("no order at the end: %s", w.unsettled())
	}
	if w.violation != "" {
		t.Errorf("%s is violated", w.violation)
	}
	return string(w.text)
}
