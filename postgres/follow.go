package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Reload makes the server read its configuration. It takes effect a moment after
// this returns, in each process for itself.
func (s *Server) Reload(ctx context.Context) error {
	if _, err := s.act.query(ctx, "reload", "select pg_reload_conf()"); err != nil {
		return fmt.Errorf("reload the configuration: %w", err)
	}
	return nil
}

// Checkpoint writes a checkpoint, on a standby a restart point. It may take long;
// ctx bounds it.
func (s *Server) Checkpoint(ctx context.Context) error {
	conn, err := s.connectLocal(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	// Two statements: a timeout set in one string with what it is for would not
	// count for it.
	for _, sql := range []string{"set statement_timeout = 0", "checkpoint"} {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("write a checkpoint: %w", err)
		}
	}
	return nil
}

// Follow makes the running standby stream from up, or from nobody when up has no
// host. It returns when the server was told, a receiver that hung on another host is
// gone and, if up is another than before, the new one streams or was given some time to.
// Since PostgreSQL 13 a reload is enough.
func (s *Server) Follow(ctx context.Context, up Upstream) error {
	changed, err := s.writeUpstream(ctx, up)
	if err != nil {
		return err
	}
	if err := s.Reload(ctx); err != nil {
		return err
	}
	if err := s.dropStuckReceiver(ctx, up, changed); err != nil || up.Host == "" || !changed {
		return err
	}
	return s.hurryReceiver(ctx, up, hurryPatience)
}

// WriteUpstream writes who is followed into the generated postgresql.conf,
// durably, and changes nothing else. WriteConfig must have written it once.
func (s *Server) WriteUpstream(up Upstream) error {
	_, err := s.writeUpstream(context.Background(), up)
	return err
}

func (s *Server) writeUpstream(ctx context.Context, up Upstream) (changed bool, err error) {
	if err := s.writePassfile(); err != nil {
		return false, fmt.Errorf("write %s: %w", s.o.PgPass, err)
	}
	err = s.files(func() error {
		if ctx.Err() != nil { // as in writeSync
			return context.Cause(ctx)
		}
		content, _, err := readOptional(s.conf(confName))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(content), confHeader) {
			return fmt.Errorf("%w: %s", ErrNotGenerated, s.conf(confName))
		}
		if changed, err = writeChanged(s.conf(confName), replaceUpstream(string(content), s.PrimaryConninfo(up), up.SlotName, !s.paused.Load())); err != nil {
			return err
		}
		stripped, err := s.stripAuto(false) // an upstream that somebody set by ALTER SYSTEM would win
		changed = changed || stripped
		return err
	})
	if err != nil {
		return false, fmt.Errorf("write who is followed: %w", err)
	}
	return changed, nil
}

// replaceUpstream exchanges those lines of a generated configuration.
func replaceUpstream(text, conninfo, slot string, ends bool) string {
	var b strings.Builder
	write := func() {
		writeParameter(&b, "primary_conninfo", conninfo)
		writeParameter(&b, "primary_slot_name", slot)
		if ends { // guard: crash_ends_who_follows — S8
			b.WriteString(crashEnds)
		}
	}
	written := false
	for line := range strings.SplitAfterSeq(withoutUpstream(text), "\n") {
		// They stand sorted among the recovery parameters, before these.
		if !written && (strings.HasPrefix(line, "promote_trigger_file = ") || strings.HasPrefix(line, "recovery_target = ")) {
			write()
			written = true
		}
		b.WriteString(line)
	}
	if !written {
		write()
	}
	return b.String()
}

// crashEnds has the crash of a process end a standby's postmaster, which its agent starts
// again. Left to itself it recovers as what the directory says it is, and in the middle of a
// promotion, between the removal of standby.signal and pg_control, that is a primary of the
// timeline it was to leave (S8). It is in force long before a promotion, and taken back after
// it. In a pause, in which nobody starts a server, PostgreSQL does as it is used to.
const crashEnds = "restart_after_crash = 'off' # of a standby, until it has been promoted\n"

// RecoversByItself has a server that has been promoted recover from the crash of a process as
// it is configured to, which is what a primary does best.
func (s *Server) RecoversByItself(ctx context.Context) error {
	var changed bool
	err := s.files(func() error {
		if ctx.Err() != nil { // as in writeSync
			return context.Cause(ctx)
		}
		content, _, err := readOptional(s.conf(confName))
		if err != nil {
			return err
		}
		changed, err = writeChanged(s.conf(confName), strings.ReplaceAll(string(content), crashEnds, ""))
		return err
	})
	if err != nil {
		return fmt.Errorf("have the server recover by itself: %w", err)
	}
	if !changed {
		return nil
	}
	return s.Reload(ctx)
}

// receiverSQL finds the WAL receiver also while it is connecting, when
// pg_stat_wal_receiver does not show it yet.
const receiverSQL = `
select a.pid, w.sender_host, w.sender_port::text, w.slot_name
from pg_stat_get_activity(null) a left join pg_stat_get_wal_receiver() w on w.pid = a.pid
where a.backend_type = 'walreceiver'`

// receiverGrace is how long a receiver gets to leave by itself after a reload
// that gave it another host; about 18 ms is usual.
const receiverGrace = 300 * time.Millisecond

// dropStuckReceiver ends a receiver that stays with another host: the startup
// process asks it to leave, but one that is stuck on a dead host may sit there
// until its timeout (SAFETY trap 12). The server cannot end it by SQL, since it
// is no backend, so it gets the signal that the startup process would send.
//
// A receiver that is connecting shows no host. It is another's when the upstream
// has just changed, and ours when it has not.
func (s *Server) dropStuckReceiver(ctx context.Context, up Upstream, changed bool) error {
	first, _, err := s.receiver(ctx, up, changed)
	if err != nil || first == 0 {
		return err
	}
	grace, cancel := context.WithTimeout(ctx, receiverGrace)
	defer cancel()
	for grace.Err() == nil {
		pause(grace, 5*time.Millisecond)
		if now, _, err := s.receiver(ctx, up, changed); err != nil || now != first {
			return err
		}
	}
	if err := s.signal(first, "walreceiver", syscall.SIGTERM); err != nil {
		return err
	}
	s.o.Log.Info("stuck wal receiver ended", "pid", first)
	for ctx.Err() == nil {
		if now, _, err := s.receiver(ctx, up, changed); err != nil || now != first {
			return err
		}
		pause(ctx, 5*time.Millisecond)
	}
	return fmt.Errorf("wait for the wal receiver %d to end: %w", first, context.Cause(ctx))
}

// receiver tells whether there is a WAL receiver, and its pid if it does not stream from
// up.
func (s *Server) receiver(ctx context.Context, up Upstream, changed bool) (other int, found bool, err error) {
	rows, err := s.act.query(ctx, "receiver", receiverSQL)
	if err != nil {
		return 0, false, fmt.Errorf("look for the wal receiver: %w", err)
	}
	for _, row := range rows {
		r := reader{row: row}
		if row[1] == nil && up.Host != "" && !changed {
			continue
		}
		if up.Host == "" || r.text(1) != up.Host || r.text(2) != up.Port || r.text(3) != up.SlotName {
			return r.number(0), true, r.err
		}
	}
	return 0, len(rows) > 0, nil
}

// hurryPatience is how long Follow sees to it that a receiver connects; some 20 ms are
// usual.
const hurryPatience = 200 * time.Millisecond

// hurryReceiver has the startup process try again at once while no receiver runs, until
// one streams from up. It sleeps for wal_retrieve_retry_interval after each that ended,
// also after one that ended because it was to connect to another host, or that came before
// its slot was there. In a synchronous mode clients wait for it, with the new primary of a
// switchover ready for them. A signal ends the sleep, and SIGHUP to that process alone is
// the harmless one: it reads its files again.
func (s *Server) hurryReceiver(ctx context.Context, up Upstream, patience time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for bounded.Err() == nil {
		other, found, err := s.receiver(ctx, up, true)
		if err != nil || found && other == 0 {
			return err
		}
		if !found {
			if err := s.wakeStartup(ctx); err != nil {
				return err
			}
		}
		pause(bounded, 5*time.Millisecond)
	}
	return nil
}

// wakeStartup sends the startup process SIGHUP; a primary has none.
func (s *Server) wakeStartup(ctx context.Context) error {
	rows, err := s.act.query(ctx, "startup", "select pid from pg_stat_get_activity(null) where backend_type = 'startup'")
	if err != nil {
		return fmt.Errorf("look for the startup process: %w", err)
	}
	if len(rows) == 0 {
		return nil
	}
	r := reader{row: rows[0]}
	pid := r.number(0)
	if r.err != nil {
		return r.err
	}
	return s.signal(pid, "startup", syscall.SIGHUP)
}

// signal sends sig to the server's process pid after making sure that it still is one,
// of the kind that its title names. One that is gone needs none. The pidfd pins it before
// that: whoever has the number by then is not hit.
func (s *Server) signal(pid int, kind string, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the pidfd of the %s process %d: %w", kind, pid, err)
	}
	defer unix.Close(fd)
	ours, err := s.isServerProcess(pid)
	if err != nil || !ours {
		return err
	}
	title, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || !strings.Contains(string(title), kind) {
		return nil //nolint:nilerr // gone already
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send the %s process %d %s: %w", kind, pid, unix.SignalName(sig), err)
	}
	return nil
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
