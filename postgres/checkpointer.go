package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Whether commits wait for standbys at all is a flag in the server's shared memory that
// its checkpointer alone sets (SyncRepUpdateSyncStandbysDefined): when it starts, and when
// it reads the configuration again. While the flag is off a commit returns at once,
// whatever names it and the walsenders see. In an immediate checkpoint, and while any one
// syncs files, the checkpointer reads nothing: for minutes, perhaps.

// syncFlag knows of one server that its flag is on. It is on for as long as that server has
// names without a break: every later checkpointer of it begins with the names of its
// postmaster.
type syncFlag struct {
	mu sync.Mutex
	// server is the start time of its postmaster; empty for none.
	server string
	// starting: the server that is started next begins with names, and so with the flag on.
	starting bool
	// emptied counts what has put an end to knowing it.
	emptied int
}

// isOn reports whether it is known that the flag of that server is on.
func (f *syncFlag) isOn(server string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.starting && server != "" {
		f.server, f.starting = server, false
	}
	return server != "" && f.server == server
}

// began is for proved, which has no effect if the names were emptied since.
func (f *syncFlag) began() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.emptied
}

func (f *syncFlag) proved(server string, began int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.emptied == began {
		f.server = server
	}
}

// forget is called before names are emptied, or a gate's is taken off, and after that, for
// whoever proves something meanwhile; and when a server is about to be started.
func (f *syncFlag) forget(starting bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server, f.starting, f.emptied = "", starting, f.emptied+1
}

// forgetting does what empties names.
func (s *Server) forgetting(empties bool, f func() (bool, error)) (changed bool, err error) {
	if empties {
		s.flag.forget(false)
		defer s.flag.forget(false)
	}
	return f()
}

// beginNames has the files say what a server begins with, and notes what that is.
func (s *Server) beginNames(standby bool, settings *cluster.Settings) error {
	return s.files(func() error {
		if _, err := s.placeNames(standby, false, settings); err != nil {
			return err
		}
		return s.flagOfStart()
	})
}

// flagOfStart notes what the server that is about to be started begins with. It must run
// with the owner's rights. Where a postmaster may still run nothing is concluded.
func (s *Server) flagOfStart() error {
	running, err := exists(s.data("postmaster.pid"))
	if err != nil {
		return err
	}
	named, err := s.named()
	if err != nil {
		return err
	}
	s.flag.forget(!running && named)
	return nil
}

// named reports whether the files name somebody that commits wait for: standbys, or a gate.
// What else is configured does not count. It must run with the owner's rights.
func (s *Server) named() (bool, error) {
	standbys, _, err := readOptional(s.conf(syncName))
	if err != nil || len(standbys) > 0 {
		return err == nil, err
	}
	generated, _, err := readOptional(s.conf(confName))
	return hasGate(string(generated)), err
}

// errFlag: the checkpointer was not seen to have read the names in time.
var errFlag = errors.New("the checkpointer has not read yet whom commits wait for (while a checkpoint is under way it does not); until it has, commits wait for nobody")

// checkpointerSQL finds the checkpointer, what it waits for, and whose it is.
const checkpointerSQL = "select pid::text, coalesce(wait_event, ''), pg_postmaster_start_time()::text from pg_stat_get_activity(null) where backend_type = 'checkpointer'"

type checkpointer struct {
	pid    int
	event  string
	server string
}

func checkpointerOf(ctx context.Context, conn *pgconn.PgConn) (c checkpointer, err error) {
	rows, err := ask(ctx, conn, checkpointerSQL)
	if err != nil {
		return c, err
	}
	if len(rows) != 1 {
		return c, errors.New("the server shows no checkpointer")
	}
	c.event, c.server = rows[0][1], rows[0][2]
	c.pid, err = strconv.Atoi(rows[0][0])
	return c, err
}

// checkpointerHasNames waits until the checkpointer is proved to have read names that are
// written durably, and so has set the flag; began is of before they were seen to be
// written. Nothing in the server tells that; waiting for
// a CHECKPOINT would, at its price. What can be seen is that it sleeps in its main loop,
//
//	for { ResetLatch; handle a reload; checkpoint if asked for; WaitLatch (CheckpointerMain) }
//
// and each time it comes to the top of that loop it handles a reload that it was told of.
//
// It is sent SIGHUP, whose handler notes the reload and sets the latch. Once none is
// pending the handler has run, or does before anything else of the process. Then it is seen
// in WaitLatch, in which a latch that is set lets nobody sleep. But the latch may have been
// taken back meanwhile: from PostgreSQL 15 on the naps of a checkpoint that is spread do so
// (CheckpointWriteDelay), and not every release looks for a reload after them. So all that
// is known is that the reload is handled, or noted.
//
// So SIGHUP is sent once more, and the same is seen again. This second sleep is another
// than the first, which the second handler ended if nothing else had. The way from one to
// the other leads through the top of the loop, where what was noted is handled.
func (s *Server) checkpointerHasNames(ctx context.Context, conn *pgconn.PgConn, began int) error {
	c, err := checkpointerOf(ctx, conn)
	if err != nil || s.flag.isOn(c.server) {
		return err
	}
	for range 2 {
		if err := s.hangUp(c.pid); err != nil {
			return err
		}
		if err := s.awaitRest(ctx, conn, c.pid); err != nil {
			return err
		}
	}
	s.flag.proved(c.server, began)
	return nil
}

// checkpointerLearns is the same over a connection of its own.
func (s *Server) checkpointerLearns(ctx context.Context, began int) error {
	conn, err := s.connectLocal(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	return s.checkpointerHasNames(ctx, conn, began)
}

// hangUp sends the checkpointer SIGHUP, and is sure to have.
func (s *Server) hangUp(pid int) error {
	ours, err := s.isServerProcess(pid)
	if err == nil && !ours {
		err = errors.New("it is not seen among the server's processes")
	}
	if err == nil {
		err = unix.Kill(pid, syscall.SIGHUP)
	}
	if err != nil {
		return fmt.Errorf("have the checkpointer %d read the configuration: %w", pid, err)
	}
	return nil
}

// awaitRest waits until the checkpointer rests.
func (s *Server) awaitRest(ctx context.Context, conn *pgconn.PgConn, pid int) error {
	for {
		rests, err := s.rests(ctx, conn, pid)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", errFlag, context.Cause(ctx))
		case err != nil || rests:
			return err
		}
		pause(ctx, syncEvery)
	}
}

// rests reports whether the checkpointer has had every SIGHUP sent before (t2), and slept
// in its main loop after that. The sleep takes three looks, since the server shows what it
// waits for (t3, t5), and the kernel that it sleeps (t4). From t3 to t5 it was in one
// WaitLatch, or has gone through the top of the loop. In one, it slept: what runs, or was
// preempted, between a latch that is set and the top of the loop is R and not S, and it
// sleeps for nothing else in there. The locks that it waits for on the way, and the files
// it reads, it has behind it when it shows CheckpointerMain again.
func (s *Server) rests(ctx context.Context, conn *pgconn.PgConn, pid int) (bool, error) {
	if _, pending, err := s.sleeps(pid); err != nil || pending { // t2
		return false, err
	}
	if waits, err := waitsInMain(ctx, conn, pid); err != nil || !waits { // t3
		return false, err
	}
	if asleep, pending, err := s.sleeps(pid); err != nil || !asleep || pending { // t4
		return false, err
	}
	return waitsInMain(ctx, conn, pid) // t5
}

func waitsInMain(ctx context.Context, conn *pgconn.PgConn, pid int) (bool, error) {
	c, err := checkpointerOf(ctx, conn)
	if err == nil && c.pid != pid {
		err = errors.New("the server has crashed meanwhile: it has another checkpointer")
	}
	return c.event == "CheckpointerMain", err
}

// sleeps tells whether a process sleeps, and whether SIGHUP is on its way to it. It is
// looked at as the server's user, who sees his own where others do not (hidepid). Where the
// kernel does not show it, nothing is proved.
func (s *Server) sleeps(pid int) (asleep, pending bool, err error) {
	var content []byte
	err = s.owner.do(func() error {
		content, err = os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		return err
	})
	if err != nil {
		return false, false, fmt.Errorf("look at the checkpointer: %w", err)
	}
	return parseStatus(content)
}

// parseStatus reads /proc/<pid>/status.
func parseStatus(content []byte) (asleep, pending bool, err error) {
	const hangup = 1 << (uint(syscall.SIGHUP) - 1)
	seen := 0
	for line := range bytes.Lines(content) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "State":
			asleep = bytes.HasPrefix(value, []byte("S"))
		case "SigPnd", "ShdPnd":
			set, err := strconv.ParseUint(string(value), 16, 64)
			if err != nil {
				return false, false, fmt.Errorf("look at the checkpointer: %w", err)
			}
			pending = pending || set&hangup != 0
		default:
			continue
		}
		seen++
	}
	if seen != 3 {
		return false, false, errors.New("look at the checkpointer: the kernel does not tell what it does")
	}
	return asleep, pending, nil
}
