package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Look is one good look at the server and its directory. running and pid say what
// the guard knows of the postmaster; when it runs, it is asked with one statement
// on a kept connection.
//
// A server that refuses connections because it starts or stops is a good look
// (ModeStarting, ModeStopping). Anything else that keeps the question from being
// answered is an error, and then nothing may be concluded.
func (s *Server) Look(ctx context.Context, running bool, pid int) (cluster.NodeState, error) {
	n, err := s.Disk(ctx)
	if err != nil || !running {
		return n, err
	}
	n.PostmasterPID = pid
	row, known, err := s.ask(ctx)
	if err != nil {
		if n.Mode, err = s.refusal(err, pid); err != nil {
			return cluster.NodeState{}, err
		}
		return n, nil
	}
	if err := s.fillRunning(ctx, &n, row); err != nil {
		return cluster.NodeState{}, err
	}
	s.learnFlag(row)
	n.EndKnown = known
	if n.PendingRestart, err = s.pendingRestart(ctx, row, n.Control); err != nil {
		return cluster.NodeState{}, err
	}
	n.StoppedBy = stoppedBy(&n)
	return n, nil
}

// ask runs the statement of Look.
func (s *Server) ask(ctx context.Context) (row lookRow, endKnown bool, err error) {
	return s.askKnowing(ctx, func() ([]*string, error) { return s.askOnce(ctx) }, colRecovery, colReceive)
}

// askKnowing asks for the positions, in a row whose columns recovery and receive say
// whether the server is a standby and where it last received, and whether the end of a
// standby's WAL was known before. It is once a receiver was asked for, which the startup
// process does when it has read all that is there. A standby that streams from nobody asks
// for none: then that process says whether it waits, and the positions are read after that.
func (s *Server) askKnowing(ctx context.Context, ask func() ([]*string, error), recovery, receive int) (row []*string, endKnown bool, err error) {
	row, err = ask()
	if err != nil || row[recovery] == nil || *row[recovery] != "t" || row[receive] != nil {
		return row, err == nil && row[receive] != nil, err
	}
	waits, err := s.watch.query(ctx, "drained", drainedSQL)
	if err != nil {
		return nil, false, err
	}
	if r := (reader{row: waits[0]}); !r.flag(0) {
		return row, false, r.err
	}
	row, err = ask()
	return row, err == nil, err
}

// askOnce runs the statement. Functions of recovery fail when a promotion ends it under
// their feet; asked once more, the server has made up its mind.
func (s *Server) askOnce(ctx context.Context) ([]*string, error) {
	rows, err := s.watch.query(ctx, "look", lookSQL)
	if sqlState(err) == stateNotInPrerequisite {
		rows, err = s.watch.query(ctx, "look", lookSQL)
	}
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("look at the server: %d rows, want 1", len(rows))
	}
	return rows[0], nil
}

// refusal tells a server that starts or stops from one that could not be asked.
// Before the postmaster has its socket only postmaster.pid knows.
func (s *Server) refusal(err error, pid int) (cluster.Mode, error) {
	switch sqlState(err) {
	case stateCannotConnectNow:
		if strings.Contains(err.Error(), "shutting down") {
			return cluster.ModeStopping, nil
		}
		return cluster.ModeStarting, nil
	case stateAdminShutdown, stateCrashShutdown, "":
	default:
		return cluster.ModeUnknown, fmt.Errorf("look at the server: %w", err)
	}
	refused := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	lockfile, readErr := s.readPidFile()
	if !refused || readErr != nil || lockfile.pid != pid {
		return cluster.ModeUnknown, fmt.Errorf("look at the server: %w", err)
	}
	switch lockfile.status {
	case "starting":
		return cluster.ModeStarting, nil
	case "stopping":
		return cluster.ModeStopping, nil
	}
	return cluster.ModeUnknown, fmt.Errorf("look at the server: %w", err)
}

// pidFile is what postmaster.pid says, and with fewer lines the lock file of a
// socket.
type pidFile struct {
	pid int
	dir string
	// port, socket and listen are where the server can be reached.
	port, socket, listen string
	status               string
}

func (s *Server) readPidFile() (pidFile, error) { return s.readLockFile(s.data("postmaster.pid")) }

func (s *Server) readLockFile(path string) (p pidFile, err error) {
	var content []byte
	err = s.owner.do(func() (err error) {
		content, err = os.ReadFile(path)
		return err
	})
	if err != nil {
		return p, err
	}
	return parsePidFile(content)
}

// errPidFile: postmaster.pid says nothing that can be read.
var errPidFile = errors.New("postmaster.pid not readable")

// parsePidFile reads postmaster.pid: the pid in line 1 (negative for a stand-alone
// backend), the directory in line 2, port, socket directory and address in lines
// 4 to 6, the postmaster's state in line 8. Later lines come later in a start.
func parsePidFile(content []byte) (p pidFile, err error) {
	text := strings.Split(string(content), "\n")
	if p.pid, err = strconv.Atoi(strings.TrimSpace(text[0])); err != nil {
		return p, fmt.Errorf("%w: %q is not a process id", errPidFile, text[0])
	}
	text = append(text, make([]string, 8)...)
	p.dir, p.port, p.socket, p.listen = text[1], text[3], text[4], text[5]
	p.status = strings.TrimSpace(text[7])
	return p, nil
}

// sameDirectory compares two names of the data directory.
func (s *Server) sameDirectory(other string) (same bool, err error) {
	if filepath.Clean(other) == s.o.DataDir {
		return true, nil
	}
	err = s.owner.do(func() error {
		mine, err := os.Stat(s.o.DataDir)
		if err != nil {
			return err
		}
		if theirs, err := os.Stat(other); err == nil {
			same = os.SameFile(mine, theirs)
		}
		return nil
	})
	return same, err
}

// Fast is the least that must be known every few milliseconds of a promotion or
// a switchover.
type Fast struct {
	InRecovery bool
	// Receive and Replay are a standby's positions, Flush is a primary's.
	Receive, Replay, Flush cluster.LSN
	// Timeline is a primary's own; of a standby that its receiver streams.
	Timeline cluster.Timeline
	// Receiver tells that a WAL receiver runs.
	Receiver bool
	// EndKnown is cluster.NodeState's.
	EndKnown bool
}

// Position is the newest WAL the server has, as far as Timeline is known.
func (f Fast) Position() cluster.Position {
	return cluster.Position{Timeline: f.Timeline, LSN: max(f.Receive, f.Replay, f.Flush)}
}

// LookFast asks for little, on the same kept connection as Look.
func (s *Server) LookFast(ctx context.Context) (Fast, error) {
	row, known, err := s.askKnowing(ctx, func() ([]*string, error) { return s.askFast(ctx) }, 0, 1)
	if err != nil {
		return Fast{}, err
	}
	r := reader{row: row}
	f := Fast{InRecovery: r.flag(0), Receive: r.lsn(1), Replay: r.lsn(2), Flush: r.lsn(3), Receiver: r.flag(5), EndKnown: known}
	if f.InRecovery {
		f.Timeline = r.timeline(4, 10)
	} else {
		f.Timeline, f.Receive, f.Replay, f.Receiver, f.EndKnown = r.timeline(4, 16), 0, 0, false, false
	}
	return f, r.err
}

func (s *Server) askFast(ctx context.Context) ([]*string, error) {
	rows, err := s.watch.query(ctx, "fast", fastSQL)
	if sqlState(err) == stateNotInPrerequisite {
		rows, err = s.watch.query(ctx, "fast", fastSQL)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the server: %w", err)
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("look at the server: %d rows, want 1", len(rows))
	}
	return rows[0], nil
}
