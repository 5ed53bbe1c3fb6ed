package sim

import (
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// trapStory shows one trap.
type trapStory struct {
	// field is the trap's in pgfake.Traps, number SAFETY section 8's.
	field  string
	number int
	name   string
	tell   func(*stage)
}

// trapStories has one story for every field of pgfake.Traps.
var trapStories = []trapStory{
	{"NoCancelledWait", 1, "cancelled_wait", func(g *stage) {
		one, two := g.pair()
		one.SetSync(g.now, 1, "pg2")
		g.cut(one, two, true)
		c := g.write(one, 200, false)
		g.say(one, "the client cancels its wait")
		one.CancelWait(g.now, c)
		g.where(c, one, two)
	}},
	{"NoBusyCheckpointer", 22, "names_wait_for_the_checkpointer", func(g *stage) {
		one, two := g.pair()
		one.Occupy(g.now, true)
		g.say(one, "synchronous_standby_names = 'pg2', while a checkpoint is under way")
		one.SetSync(g.now, 1, "pg2")
		g.cut(one, two, true)
		g.where(g.write(one, 200, false), one, two)
		g.say(one, "the checkpoint is over")
		one.Occupy(g.now, false)
		c := g.write(one, 200, false)
		g.where(c, one, two)
		g.say(one, "synchronous_standby_names = '', while the next is under way")
		one.Occupy(g.now, true)
		one.SetSync(g.now, 0)
		g.where(c, one, two)
		g.say(one, "it is over")
		one.Occupy(g.now, false)
		g.where(c, one, two)
	}},
	{"NoReleaseOnEmpty", 2, "emptied_names", func(g *stage) {
		one, two := g.pair()
		one.SetSync(g.now, 1, "pg2")
		g.cut(one, two, true)
		c := g.write(one, 200, false)
		g.say(one, "synchronous_standby_names = ''")
		one.SetSync(g.now, 0)
		g.where(c, one, two)
	}},
	{"NoEarlyShip", 3, "shipped_early", func(g *stage) {
		one, two, three := g.trio()
		one.SetSync(g.now, 2, "pg2", "pg3")
		g.cut(one, three, true)
		c := g.write(one, 200, false)
		g.wait(time.Second)
		g.powerOff(one)
		g.promote(two, 2)
		g.where(c, two)
	}},
	{"NoScatter", 4, "scattered_acks", func(g *stage) {
		one, two, three := g.trio()
		one.SetSync(g.now, 1, "pg2", "pg3")
		g.cut(one, two, true)
		a := g.write(one, 200, false)
		g.wait(10 * time.Millisecond)
		g.where(a, two, three)
		g.powerOff(one)
		g.promote(two, 2)
		g.where(a, two)
	}},
	{"NoReceiveReset", 5, "receive_reset", func(g *stage) {
		one, two := g.pair()
		g.write(one, 200, false)
		g.cut(one, two, true)
		g.kill(two)
		g.start(two, true)
		for range 2 {
			n, err := two.Look(g.now)
			g.must(err)
			g.say(two, "received %s, replayed %s: it has %s, and that this is all is known: %t", n.ReceiveLSN, n.ReplayLSN, n.Position(), n.EndKnown)
			g.wait(time.Second)
		}
	}},
	{"NoShorterTimeline", 6, "shorter_timeline", func(g *stage) {
		one, two, three := g.trio()
		g.cut(one, two, true)
		lost := g.write(one, 200, false)
		g.where(lost, two, three)
		g.powerOff(one)
		g.promote(two, 2)
		g.relate(three, two)
		g.follow(three, two)
		g.where(lost, three)
	}},
	{"NoSameNumber", 6, "one_number_two_histories", func(g *stage) {
		one, two, three := g.trio()
		g.powerOff(one)
		g.cut(two, three, true)
		g.promote(two, 0)
		g.promote(three, 0)
		mine := g.write(two, 200, false)
		theirs := g.write(three, 200, false)
		g.checkpoint(three)
		g.cut(two, three, false)
		g.stop(two)
		g.relate(two, three)
		g.rewind(two, three)
		g.where(mine, two)
		g.where(theirs, two)
	}},
	{"NoWeakCommit", 7, "weak_commit", func(g *stage) {
		one, two := g.pair()
		one.SetSync(g.now, 1, "pg2")
		g.cut(one, two, true)
		g.say(one, "a session with synchronous_commit = local commits")
		c := g.write(one, 200, true)
		g.powerOff(one)
		g.promote(two, 2)
		g.where(c, two)
	}},
	{"NoUnackedVisible", 8, "recovery_shows_unacknowledged", func(g *stage) {
		one, two := g.pair()
		one.SetSync(g.now, 1, "pg2")
		g.cut(one, two, true)
		c := g.write(one, 200, false)
		g.where(c, one)
		g.kill(one)
		g.start(one, false)
		g.where(c, one, two)
	}},
	{"NoStopWaits", 9, "stop_waits", func(g *stage) {
		one, two := g.pair()
		g.say(two, "every process is frozen")
		two.Freeze(g.now, true)
		g.stop(one)
	}},
	{"NoRewindNeeds", 10, "rewind_needs_checksums", func(g *stage) {
		one, two := g.diverged()
		g.checkpoint(two)
		one.SetChecksums(false)
		g.relate(one, two)
		g.rewind(one, two)
	}},
	{"NoRewindCheckpoint", 10, "rewind_needs_a_checkpoint", func(g *stage) {
		one, two := g.diverged()
		g.relate(one, two)
		g.rewind(one, two)
		g.checkpoint(two)
		g.rewind(one, two)
	}},
	{"NoRewindRuin", 10, "rewind_interrupted", func(g *stage) {
		one, two := g.diverged()
		g.checkpoint(two)
		w, err := one.Rewind(g.now, "pg2")
		g.must(err)
		g.wait(w.Until.Sub(g.now) - time.Millisecond)
		g.say(one, "the agent dies in the middle of a rewind")
		one.Interrupt(g.now)
		g.say(one, "the directory: %s", one.Disk().Data)
		g.start(one, true)
	}},
	{"NoWALRemoval", 11, "log_is_gone", func(g *stage) {
		one, two := g.pair()
		g.Tuning.KeepWAL = 1 << 25
		g.stop(two)
		_, dropped, err := one.EnsureSlots(g.now, nil, func(cluster.Slot) bool { return true })
		g.must(err)
		g.say(one, "slots dropped: %v", dropped)
		for range 10 {
			one.Write(g.now, 1<<24, false)
		}
		g.checkpoint(one)
		two.WriteUpstream(pgfake.Upstream{Host: "pg1", Port: "5432"})
		g.start(two, true)
		g.streams(two)
	}},
	{"NoStuckReceiver", 12, "stuck_receiver", func(g *stage) {
		one, two := g.pair()
		g.powerOff(one)
		for range 4 {
			g.wait(2 * time.Second)
			n, err := two.Look(g.now)
			g.must(err)
			g.say(two, "its receiver streams: %t", n.Receiver != nil)
		}
	}},
	{"NoArchiveClash", 13, "archive_clash", func(g *stage) {
		one, two := g.pair()
		one.Archive(g.now, true, false)
		two.Archive(g.now, true, false)
		g.cut(one, two, true)
		g.kill(two)
		g.start(two, false) // without a promotion
		g.write(one, 1<<25, false)
		g.write(two, 1<<25, false)
		g.wait(time.Second)
		g.say(one, "its archiver was refused: %t", one.ArchiveFailed())
		g.say(two, "its archiver was refused: %t", two.ArchiveFailed())
	}},
	{"NoReplayLag", 14, "long_promotion", func(g *stage) {
		one, two := g.pair()
		g.say(two, "replay is paused")
		two.PauseReplay(g.now, true)
		g.write(one, 100<<20, false)
		g.wait(time.Second)
		g.powerOff(one)
		g.promote(two, 2)
	}},
	{"NoOwnSystem", 16, "two_systems", func(g *stage) {
		one := g.primary("pg1")
		two := g.Server("pg2")
		w, err := two.InitDB(g.now)
		g.work(two, "initdb", w, err)
		g.relate(two, one)
		two.WriteUpstream(pgfake.Upstream{Host: "pg1", Port: "5432"})
		g.start(two, true)
		g.streams(two)
	}},
	{"NoKernelStuck", 17, "stuck_in_the_kernel", func(g *stage) {
		one, _ := g.pair()
		g.say(one, "a backend hangs in the kernel")
		one.Stick(g.now, true)
		g.must(one.Signal(g.now, one.Scan()[0], syscall.SIGQUIT))
		g.wait(time.Second)
		g.kill(one)
		g.wait(time.Second)
		g.say(one, "%d processes are left", len(one.Scan()))
		one.Stick(g.now, false)
		g.say(one, "the kernel lets go: %d are left", len(one.Scan()))
	}},
	{"NoExhaustion", 18, "too_many_clients", func(g *stage) {
		one, _ := g.pair()
		g.say(one, "clients take every connection")
		one.Exhaust(g.now, true)
		_, err := one.Look(g.now)
		g.say(one, "a look on the kept connection: %v", err)
		g.checkpoint(one)
	}},
	{"NoParameterPause", 19, "smaller_standby", func(g *stage) {
		one, two := g.pair()
		g.stop(one)
		g.say(one, "max_connections = 200")
		one.SetMaxConnections(200)
		g.start(one, false)
		g.streams(two)
		c := g.write(one, 200, false)
		g.where(c, two)
		g.powerOff(one)
		g.promote(two, 2)
	}},
	{"NoFalseStandby", 21, "clone_confirms", func(g *stage) {
		one := g.primary("pg1")
		one.SetSync(g.now, 1, "pg2")
		c := g.write(one, 200, false)
		g.say(g.Server("pg2"), "a clone begins, under a listed name")
		_, err := g.Server("pg2").Clone(g.now, "pg1", "", "pg2")
		g.must(err)
		g.where(c, one, g.Server("pg2"))
		g.powerOff(one)
	}},
}

// diverged is pg1 stopped with a commit that pg2, promoted, does not have.
func (g *stage) diverged() (one, two *pgfake.Server) {
	one, two = g.pair()
	g.cut(one, two, true)
	g.write(one, 200, false)
	g.promote(two, 2)
	g.stop(one)
	g.cut(one, two, false)
	return one, two
}
