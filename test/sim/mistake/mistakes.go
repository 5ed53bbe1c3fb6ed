package main

// mistake is what was wrong once, or deliberately is, by the story of test/sim that shows it.
type mistake struct {
	story   string
	changes []change
}

// change puts back what a file was.
type change struct{ file, is, was string }

var mistakes = []mistake{
	{"found_6974_catching_up_through_a_slot_that_is_missing", []change{
		{"election/revoke.go", "NoSlot: true}", "NoSlot: false}"}}},
	{"found_by_writing_copy_of_a_primary_that_was_stopped", []change{
		{"election/revoke.go", "range attainable(o, mine, rules, all)", "range all"}}},
	{"found_by_writing_copy_that_gives_nothing", []change{
		{"election/revoke.go", "range attainable(o, mine, rules, all)", "range all"}}},
	{"found_by_writing_upstream_that_receives_nothing", []change{
		{"election/policy.go", "if silent && !m.RunsPrimary()", "if false && silent && !m.RunsPrimary()"}}},
	{"found_by_writing_wal_that_is_gone", []change{
		{"agent/node_rejoin.go", "if info.Removed != \"\" {", "if false {"}}},
	{"found_by_writing_switchover_of_before_a_pause", []change{
		{"election/paused.go", "if sw := o.View.Value.Switchover; sw != nil &&", "if sw := o.View.Value.Switchover; false &&"}}},
	{"found_by_writing_rolled_back_and_gone_through", []change{
		{"agent/act.go", "clears && c.Revision == l.keys.cleared", "false && clears && c.Revision == l.keys.cleared"}}},
	{"found_265591737872940_ancestor_that_it_had_nothing_of", []change{
		{"postgres/pgfake/disk.go", "standby && last.timeline > own", "standby && last.timeline > own && false"}}},
	{"found_176178541827474_mode_off_while_its_names_are_set", []change{
		{"election/synchronous.go", " && s.Names == names && s.Begun == names", " && s.Names == names"}}},
	{"found_by_reading_names_while_a_checkpoint_is_under_way", []change{
		{"test/sim/server_sync.go", "\tfor !s.n.pg.HasNames() {", "\tfor false && !s.n.pg.HasNames() {"}}},
	{"found_66541419551694_clone_of_a_deposed_primary", []change{
		{"agent/node_clone.go", "if err := n.stillPrimary(ctx, up, src); err != nil {", "if err := error(nil); err != nil {"}}},
	{"found_102224598637907_given_up_after_it_was_lost", []change{
		{"agent/fold.go", "l.obs.Lease.Term, l.obs.Lease.Began, l.obs.Lease.Condemned = 0, 0, \"\" // the lease", "l.obs.Lease.Term, l.obs.Lease.Began = 0, 0 // the lease"}}},
	{"found_90876766593291_restart_beside_a_reload", []change{
		{"agent/node_gate.go", "exited := n.link.Exited(instance)", "exited := make(chan struct{})"},
		{"agent/act.go", "l.server.configuring && starts(a) {", "l.server.configuring && false {"}}},
	{"found_274965919865769_promotion_beside_a_reload", []change{
		{"agent/act.go", "case election.StartServer, election.Restart, election.Promote, election.Rejoin, election.Clone:", "case election.StartServer, election.Restart, election.Rejoin, election.Clone:"}}},
	{"found_88108925952056_list_sent_with_the_questions", []change{
		{"election/holder.go", "!recordStands(o) { // guard: list_stands_in_failsafe", "true { // guard: list_stands_in_failsafe"},
		{"election/failsafe.go", "case PutDurability, PutFailsafe:", "case PutDurability:"}}},
	{"found_1119512_hand_over_taken_up_again", []change{
		{"election/inherit.go", "v.Leader.Term > o.Self.Ended &&", "true &&"}}},
	{"found_271410471345493_two_promotions_at_one_position", []change{
		{"election/fitness.go", "known && (aside || at != line.Switch) {", "known && (aside && false || at != line.Switch) {"}}},
	{"found_81575592923234_suspended_in_a_promotion_with_its_guard_frozen", []change{
		{"election/fence.go", "writes := o.Job.Writes ||", "writes :="}}},
	{"found_256953898232953_waited_for_and_not_listed", []change{
		{"election/revoke.go", "\t\tif unlisted(o, name) {", "\t\tif false && unlisted(o, name) {"},
		{"election/failsafe.go", " && !listedReport(o)\n", "\n"}}}, // which has come to hold it too
	{"found_by_reading_voter_that_has_yet_to_read_its_wal", []change{
		{"election/race.go", "if o.Node.Value.EndKnown || forced(o)", "if true || o.Node.Value.EndKnown || forced(o)"}}},
	{"found_5037143_upstream_by_tag_of_a_revoked_term", []change{
		{"election/policy.go", "if !led || !leader.RunsPrimary()", "if false && !led || false && !leader.RunsPrimary()"},
		{"election/policy.go", "m.Timeline != leader.Timeline ||", "false ||"},
		{"election/policy.go", "m.RunsPrimary() && from != leader.Name {", "false {"}}},
	{"found_76319871900396_rule_given_up_that_commits_rested_on", []change{
		{"election/synchronous.go", "\tif !next.Rules[len(next.Rules)-1].Equal(r) {\n\t\tnext.Rules = append(next.Rules, r)\n\t}",
			"\tnext.Rules = append(slices.DeleteFunc(next.Rules, r.Equal), r)"}}},
	{"found_1129_named_and_not_listed", []change{
		{"agent/member.go", "NoCandidate: election.NoCandidate(o, l.decision.Reason),", "NoCandidate: false,"}}},
	{"found_1009018_clone_while_its_standby_would_not_do", []change{
		{"agent/node_clone.go", "if do.CloneFrom != nil && source.Keeper == nil {", "if false {"}}},
	{"found_1028705_patroni_leader_that_wrote_nothing", []change{
		{"election/revoke.go", "published == nil || byPatroni(o) && !kept {", "published == nil || patroniLeft(o) || kept && false {"},
		{"election/revoke.go", "if o.Self.PatroniLed || slices", "if false && slices"}}},
	{"found_2000855_patroni_leader_that_nothing_shows", []change{
		{"election/revoke.go", "if o.Self.PatroniLed || slices", "if slices"}}},
	{"found_2016152_former_leader_that_steps_back", []change{
		{"election/patroni.go", "!f.Empty() && o.Settings.SynchronousMode", "!f.Empty() && strings.EqualFold(f.Member, o.Self.Name) && o.Settings.SynchronousMode"}}},
	{"found_412820_vote_of_a_voter_that_has_yet_to_read_its_wal", []change{
		{"restapi/status.go", "if node.EndKnown ||", "if true || node.EndKnown ||"}}},
	{"found_300733_named_and_behind", []change{
		{"election/patroni.go", "none = append(none, ReasonBetterCandidate)", "_ = f"}}},
	{"found_5252_timeline_told_once", []change{
		{"election/holder.go", "heard := timeline <= o.Heard", "heard := false"},
		{"election/holder.go", "\t\to.Heard, // guard", "\t\t0, // guard"}}},
	{"found_5632_published_without_a_timeline", []change{
		{"election/patroni.go", "v.Status.Timeline == 0 && n > 0 {", "false && n > 0 {"}}},
	{"found_21561_number_that_patroni_took_again", []change{
		{"agent/whose.go", "\t\treturn l.stray(true)\n", "\t\treturn nil\n"}}},
	{"found_45997_history_that_patroni_lacks", []change{
		{"agent/node_rejoin.go", "ok && r.Patroni {", "ok && r.Patroni && false {"}}},
	{"found_57332_limit_that_the_key_sync_lifted", []change{
		{"election/race.go", "record.Lax() && !patroniLeft(o) {", "record.Lax() && !byPatroni(o) {"}}},
	{"found_1541_promise_and_a_release_from_before", []change{
		{"election/failsafe.go", "case released(v) && strings.EqualFold(v.Release.By, o.Self.PledgedTo):", "case released(v):"},
		{"election/failsafe.go", "case v.Status != nil && v.Status.Timeline == 0:", "case false:"}}},
	{"found_102852680006123_guard_frozen_before_the_store_has_the_pause", []change{
		{"election/fence.go", "o.Lease.Term != 0 {\n\t\treturn Decision{}, false\n\t}\n\tif d, ok := overdue(o); ok {",
			"o.Lease.Term != 0 || o.Settings.Pause {\n\t\treturn Decision{}, false\n\t}\n\tif d, ok := overdue(o); ok {"}}},
	{"found_203781195459662_term_heard_of_after_it_was_taken_over", []change{
		{"test/sim/judge_notes.go", " && n.seen.called >= n.seen.deposed {", " {"}}},
	{"found_266367764927229_lease_of_another_length_in_failsafe", []change{
		{"agent/keep.go", "!election.FailsafeActive(&l.obs): // and compare", "true: // and compare"}}},
	{"found_241491008615320_rules_that_came_back", []change{
		{"dcs/holder.go", "\t\tmodIs(record, over),\n", ""}}},
	{"found_1200000437_configuration_of_a_pause_that_repoints", []change{
		{"agent/keep.go", "if l.obs.Settings.Pause && !points {", "if l.obs.Settings.Pause && !points && false {"}}},
	{"found_1300006883_pause_that_undoes_a_promise", []change{
		{"agent/keep.go", " && l.obs.Node.At >= l.server.followedAt", ""}}},
	{"found_346_fence_again_and_again", []change{
		{"agent/fold_server.go", "g.Fencing, g.FencedAt = false, false, l.obs.Now\n", "g.Fencing, g.FencedAt = false, false, 0\n"}}},
	{"found_1613_member_key_on_a_lease_nobody_keeps", []change{
		{"agent/act.go", "l.session.lease == 0 || l.session.opening {", "l.session.lease == 0 {"},
		{"agent/fold.go", "if e.Lease != l.session.lease {", "if false {"},
		{"agent/member.go", "if l.overwritten() {", "if false && l.overwritten() {"}}},
	{"found_2376_guard_frozen_just_before_its_deadline", []change{
		{"election/fence.go", "\td.fence(o) // guard: overdue_guard — S1\n", ""}}},
	{"found_4476_start_that_nobody_ends", []change{
		{"test/sim/link.go", "\tl.exits.Only(instance)\n", "\t_ = instance\n"}}},
	{"found_19044_two_sessions_at_once", []change{
		{"agent/keep.go", "case l.session.lease == 0 || l.session.ttl != want && l.obs.Lease.Term == 0:",
			"case l.session.lease == 0 || l.session.ttl != want && l.obs.Lease.Busy == \"\" && l.obs.Lease.Term == 0:"},
		{"agent/keep.go", "if l.busy[LaneLease] || l.obs.Now < l.session.tried.Add(lookPause) {", "if l.obs.Now < l.session.tried.Add(lookPause) {"}}},
	{"found_547_late_store_hides_the_overdue_guard", []change{
		{"election/decide.go", "\td := paced(o, withoutOldMark(o, decide(o)))\n\td.forgetPast(o.Now)\n", "\td := paced(o, withoutOldMark(o, decide(o)))\n"},
		{"election/fence.go", "\t\td.forgetPast(o.Now)\n\t\td.wakeAt(overdueAt(o))\n", "\t\td.wakeAt(overdueAt(o))\n"}}},
	{"found_44635320338865_shorter_lease_that_the_guard_never_heard_of", []change{
		{"agent/node_lease.go", "if err := n.shorten(ctx, do, at); err != nil {", "if err := error(nil); err != nil {"},
		{"agent/loop.go", "t := min(l.session.ttl, want)", "t := l.session.ttl"},
		{"agent/loop.go", "if l.session.shortest != 0 {", "if false {"}}},
	{"found_165572181523580_new_worker_of_a_frozen_guard", []change{
		{"test/sim/link.go", "if !g.frozen {", "if g != nil {"}}},
	{"found_265591737878596_new_worker_of_a_frozen_guard_at_the_deadline", []change{
		{"agent/guard_link.go", "frozen := h.Unheard && ", "frozen := false && "}}},
	{"copied_standby_lags_and_the_primary_dies", []change{
		{"agent/clonefrom.go", "if election.Counts(v, l.id.Name) {", "if false {"},
		{"agent/clonefrom.go", "if lent.LSN >= had.LSN {", "if lent.LSN >= 0 {"}}},
	{"found_1190_bootstrap_beside_the_data", []change{
		{"election/bootstrap.go", "if trace := lived(o); trace != \"\" {", "if trace := lived(o); trace == \"no\" {"}}},
	{"found_703_identifier_deleted_while_the_agent_is_away", []change{
		{"election/bootstrap.go", "case init == nil && staleLeader(o) && hasData(&o.Node.Value):", "case false:"},
		{"election/bootstrap.go", "case o.View.Value.HolderIs(o.Self.Name) && hasData(&o.Node.Value):", "case false:"}}},
	{"found_56_tags_that_stayed", []change{
		{"agent/fold.go", "l.obs.Self.Tags = e.Tags ", "if e.Tags != nil {\n\t\t\tl.obs.Self.Tags = e.Tags\n\t\t}\n"}}},
	{"found_269592999147691_wish_that_no_key_can_answer", []change{
		{"dcs/decode.go", "if !validName(f.ID) {", "if false {"}}},
	{"found_269592999146928_behind_what_was_published", []change{
		{"election/fitness.go", "if published.Timeline != 0 && mine.position.Timeline > published.Timeline {", "if false {"}}},
	{"gate_goes_on_while_its_agent_is_frozen", []change{ // the gate confirms past the deadline
		{"guard/gate/warden.go", "\treturn now < until // guard: gate-before-deadline", "\treturn true // guard: gate-before-deadline"}}},
	{"gate_and_a_guest_that_stands_still", []change{ // clocks that jumped are believed at once
		{"guard/gate/warden.go", "if renewed < w.since {", "if renewed < w.since && false {"}}},
	{"gate_refused", []change{ // the name is emptied when the gate is lost
		{"agent/node_gate.go", "if waits { // guard: lost_gate_keeps_name", "if false { //"},
		{"agent/node_gate.go", "if status.Gate != nil || status.Server == nil", "if status.Server == nil"}}},
	{"found_243821392875696_lease_given_away_while_the_guard_starts_a_server", []change{
		{"agent/node_lease.go", "has, err := n.askServer(ctx)\n\tif err != nil {", "has, err := false, error(nil)\n\tif err != nil {"},
		{"agent/node_job.go", "if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, guard.ErrServerRunning) { // it may", "if false { // it may"}}},
	{"quorum_primary_isolated_while_a_standby_lags", []change{ // a node that is gone is replaced by whoever comes first
		{"election/revoke.go", "!enough(o, rule, all) { // guard: enough_reports", "!enough(o, rule, all) && !goneForMost(o) { // guard: enough_reports"}}},
	{"found_273912765411119_server_frozen_in_its_promotion", []change{
		{"agent/keep.go", "if o.Guard.Writable || l.mayBegin() {", "if o.Guard.Writable {"}}},
	{"found_235328531542812_shared_with_a_sibling", []change{
		{"election/fitness.go", "known && (aside || at != line.Switch) {", "known && aside && false {"}}},
	{"found_191195116773045_forced_to_the_old_primary", []change{
		{"election/race.go", "return !lastHolder(v, f.Member) && (v.PausedAt == nil || v.PausedAt.Name != f.Member)", "return true"},
		{"election/race.go", "if _, known := v.Members[f.Member]; !known {", "if false {"}}},
	{"found_140272159913898_forced_to_nobody", []change{
		{"election/race.go", "if _, known := v.Members[f.Member]; !known {", "if false {"}}},
	{"found_115059874810091_list_of_the_primary_before", []change{
		{"election/failsafe.go", "if list, lacks := failsafeList(o); lacks {", "if list, lacks := failsafeList(o); lacks && false {"},
		{"election/failsafe.go", " && !listedReport(o)\n", "\n"}}}, // which would do once the old primary is back
	{"found_275121549189268_list_of_one_that_does_not_lead", []change{
		{"election/failsafe.go", " && !listedReport(o)\n", "\n"}}},
	{"found_272204941691557_forced_and_taken_back", []change{
		{"dcs/acquire.go", "		modIs(store.key(keyFailover), c.FailoverRevision),\n", ""}}},
	{"found_242466615675312_rules_that_were_passed_over", []change{
		{"election/synchronous.go", "if !o.Lease.Passed || record == nil", "if true || record == nil"}}},
	{"found_272204941681319_watchdog_left_running_in_a_pause", []change{
		{"guard/watchdog.go", "if k.inst == nil && !k.paused && !k.nothingIn(dataDir) {", "if k.inst == nil && !k.nothingIn(dataDir) {"},
		{"guard/handle.go", "\t\tif k.watch.want.on() {", "\t\tif k.watch.want.on() && k.inst != nil {"}}},
	{"found_244992189121743_history_written_over", []change{
		{"agent/slots.go", "l.obs.Heard = max(l.obs.Heard, line.Timeline+1)", "_ = line"}}},
	{"found_273912765417866_start_that_nobody_asked_after", []change{
		{"agent/node_job.go", " || errors.Is(err, guard.ErrServerRunning) { // it may", " { // it may"}}},
	{"found_90876766579353_asked_without_end", []change{
		{"election/failsafe.go", "if FailsafeActive(o) && o.Lease.Counted < o.Failsafe.Tried {", "if FailsafeActive(o) {"}}},
	{"found_180721593688890_primary_that_has_everything", []change{
		{"election/revoke.go", "return have >= rule.Reports() || primaryReports(o, rule, all)", "return have >= rule.Reports()"}}},
	{"found_1300001470_mark_that_is_being_taken_back", []change{
		{"election/fence.go", "if mark.ModRevision == o.Self.Unmarked {", "if false {"}}},
	{"found_267215809440415_promoted_without_its_gate", []change{
		{"agent/node_gate.go", "if status.Gate == nil || !n.told.Load() {", "if status.Gate == nil {"}}},
	{"found_233502850327440_rule_that_nobody_can_confirm", []change{
		{"election/synchronous.go", "confirming(o, last, 0) >= last.Need {", "true {"},
		{"election/synchronous.go", "next.Rules = distinct(next.Rules)\n", "\n"},
		{"election/synchronous.go", "func distinct(", "var _ = distinct\n\nfunc distinct("}}},
	{"found_3108663_restarted_in_a_pause_without_a_lease", []change{
		{"election/requests.go", "return o.Node.Value.Mode == cluster.ModePrimary && (", "return false && ("}}},
	{"found_229719467643444_promise_overwritten", []change{
		{"agent/member.go", " || promisedIn(&m) != promisedIn(l.member.wrote)", " || promisedIn(&m) < 0"}}},
	{"found_127928610334676_promotion_that_came_late", []change{
		{"agent/fold_server.go", "if e.MayWrite && o.Guard.Running {", "if e.MayWrite && o.Guard.Running && false {"}}},
	{"found_125361665273762_full_record_of_rules", []change{
		{"election/synchronous.go", "want, differs = last, false // one change", "return nil, false // one change"},
		{"election/synchronous.go", "if n := len(next.Rules); n > 1 && record", "if n := len(next.Rules); n > 1000 && record"}}},
	{"found_100163914656638_history_of_a_primary_that_had_less", []change{
		{"postgres/pgfake/disk.go", "standby && last.timeline > own", "standby && last.timeline > own && false"}}},
}
