package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// forbiddenBackup are what we give pg_basebackup ourselves.
var forbiddenBackup = []string{"pgdata", "D", "format", "F", "wal-method", "X", "dbname", "d", "host", "h", "port", "p",
	"username", "U", "password", "W", "no-password", "w", "version", "V", "write-recovery-conf", "R", "slot", "S",
	"create-slot", "C", "no-slot", "progress", "P", "target", "t", "manifest-checksums", "manifest-force-encode", "label", "l"}

// Clone copies source into the empty data directory (ErrNotEmpty otherwise) and
// makes it a standby: standby.signal is there before the tombstone goes.
// progress, when given, gets bytes done and the source's estimate of all, about
// once a second. A clone that fails or is cancelled leaves nothing behind.
//
// WAL is streamed beside the copy through source.SlotName, which is made when it
// is missing and stays: it keeps WAL until the new standby connects. With
// source.Keeper it is made there. The copy
// appears on the source as pgkeeper_clone_<name>, which is in no list of
// synchronous standbys (SAFETY trap 21).
func (s *Server) Clone(ctx context.Context, source Source, progress func(done, total int64)) error {
	grave := Tombstone{Kind: TombstoneClone, Source: source.address(), Label: "pgkeeper-" + rand.Text()}
	args, err := s.cloneArgs(source, grave.Label)
	if err != nil {
		return err
	}
	err = s.fresh(ctx, grave, s.clonePlaces(ctx, source), func(lock *os.File) error {
		if err := s.reserveSlot(ctx, source); err != nil {
			return err
		}
		if err := s.basebackup(ctx, args, lock, progress); err != nil {
			return err
		}
		return s.SetStandbySignal(true)
	})
	s.filled.Store(err != nil && strings.Contains(saidBy(err), fullDisk))
	if err != nil {
		return fmt.Errorf("clone from %s: %w", source.address(), s.explainCopy(err, s.o.Replication, source))
	}
	return nil
}

func (s *Server) cloneArgs(source Source, label string) ([]string, error) {
	for _, arg := range s.o.BasebackupArgs {
		if name := optionName(arg); slices.Contains(forbiddenBackup, name) {
			return nil, fmt.Errorf("%w: postgresql.basebackup contains %q, which pgkeeper sets itself: remove it", ErrOptions, name)
		}
	}
	args := []string{
		"--pgdata=" + s.o.DataDir, "--wal-method=stream", "--checkpoint=fast", "--no-password", "--progress",
		"--no-sync", // the whole file system is synced at the end, before the tombstone goes
		// Nobody reads the manifest of a standby; its checksums took a quarter of the time.
		"--no-manifest",
		"--no-clean", // in what order it removes what it has made is not ours to say, see removeAll
		"--dbname=" + sourceConninfo(s.o.Replication, source.Host, cmp.Or(source.Port, "5432"), ""),
	}
	if source.SlotName != "" && source.Keeper == nil { // else pg_basebackup makes one for the time of the copy
		args = append(args, "--slot="+source.SlotName)
	}
	// The last one counts, however the user has abbreviated it.
	return append(append(args, s.o.BasebackupArgs...), "--label="+label), nil
}

func (s *Server) basebackup(ctx context.Context, args []string, lock *os.File, progress func(done, total int64)) error {
	_, err := s.copying(ctx, s.o.Replication, lock, job{
		program: "pg_basebackup", args: args, env: []string{"PGAPPNAME=pgkeeper_clone_" + s.o.Name},
		line: func(line string) {
			if done, total, is := parseProgress(line); is && progress != nil {
				progress(done, total)
			}
		},
	})
	return err
}

// progressLine is "22913/22904 kB (100%), 0/1 tablespace" of pg_basebackup and
// "12345/67890 kB (18%) copied" of pg_rewind.
var progressLine = regexp.MustCompile(`^\s*(\d+)/(\d+) kB \(\d+%\)`)

func parseProgress(line string) (done, total int64, is bool) {
	parts := progressLine.FindStringSubmatch(line)
	if parts == nil {
		return 0, 0, false
	}
	done, err := strconv.ParseInt(parts[1], 10, 53)
	if err != nil {
		return 0, 0, false
	}
	if total, err = strconv.ParseInt(parts[2], 10, 53); err != nil {
		return 0, 0, false
	}
	return done << 10, total << 10, true
}

// fullDisk is what a program says when its disk is full.
const fullDisk = "No space left on device"

// explainCopy adds to the failure of pg_basebackup or pg_rewind what to do.
func (s *Server) explainCopy(err error, c Credentials, source Source) error {
	said := saidBy(err)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case said == "":
		return err
	case has("password authentication failed", "no password supplied"):
		return fmt.Errorf("%w: password of role %q is wrong: it must equal %s.password: %w", ErrAuthentication, c.Username, c.Configured, err)
	case has("no pg_hba.conf entry"):
		return fmt.Errorf("%w: pg_hba.conf on %s does not let role %q in from here: add a line such as \"host replication %s <our address>/32 scram-sha-256\" to postgresql.pg_hba: %w",
			ErrAuthentication, source.address(), c.Username, c.Username, err)
	case has("role \"" + c.Username + "\" does not exist"):
		return fmt.Errorf("%w: make role %q or correct %s: %w", ErrAuthentication, c.Username, c.Configured, err)
	case has("could not connect", "Connection refused", "connection to server", "timeout expired", "could not translate host name"):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case has(fullDisk):
		return fmt.Errorf("%s is on a full disk: make space: %w", s.o.DataDir, err)
	case errors.Is(err, ErrMissingBinary):
		return err
	}
	return err
}
