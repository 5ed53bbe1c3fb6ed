package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// InitSpec is how a new cluster is made.
type InitSpec struct {
	// Args are the user's own for initdb, each as "--name" or "--name=value".
	Args []string
	// PgHBA are lines added to the pg_hba.conf that initdb writes. Lines of the
	// configuration that WriteConfig gets replace the whole file.
	PgHBA []string
	// PostBootstrap is a command that is run once against the new cluster, with a
	// connection string as its last argument; empty for none. Its server has Config.
	PostBootstrap []string
	Config        ConfigSpec
}

// forbiddenInit are what we give initdb ourselves, or what would lose data.
var forbiddenInit = []string{"pgdata", "nosync", "no-sync", "pwfile", "pwprompt", "sync-only", "version", "username"}

// InitDB makes a new database cluster in the empty data directory and returns its
// system identifier. Roles are made by a stand-alone backend before any server
// runs, so that no writable server that anybody can reach exists outside a lease.
// When it fails, nothing is left in the directory; when it is interrupted, the
// tombstone tells.
func (s *Server) InitDB(ctx context.Context, spec InitSpec) (systemID string, err error) {
	args, err := s.initArgs(spec.Args)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(s.o.Superuser.Username, `"$'\`) {
		return "", fmt.Errorf("%w: %s.username is %s: PostgreSQL itself makes no cluster whose superuser has any of \"$'\\ in its name: choose another", ErrOptions, s.o.Superuser.Configured, s.o.Superuser.Username)
	}
	places := []string{walPlace(args, s.o.DataDir)}
	err = s.fresh(ctx, Tombstone{Kind: TombstoneInit}, places, func(lock *os.File) error {
		if err := s.initdb(ctx, args, lock); err != nil {
			return err
		}
		if systemID, err = s.inscribe(); err != nil {
			return err
		}
		if err := s.owner.do(func() error { return appendLines(s.data(hbaName), spec.PgHBA) }); err != nil {
			return fmt.Errorf("add lines to %s: %w", hbaName, err)
		}
		if err := s.createRoles(ctx, lock); err != nil {
			return err
		}
		return s.postBootstrap(ctx, spec, lock)
	})
	if err != nil {
		return "", fmt.Errorf("make a new database cluster: %w", err)
	}
	return systemID, nil
}

// inscribe writes the identifier of the cluster that initdb has made into its tombstone:
// by it what an interruption leaves from now on is known.
func (s *Server) inscribe() (systemID string, err error) {
	control, err := s.controlNow()
	if err != nil {
		return "", err
	}
	return control.SystemID, s.bury(Tombstone{Kind: TombstoneInit, SystemID: control.SystemID})
}

// initArgs are initdb's arguments: ours, the user's, and defaults for what the
// user left open. The locale of this machine's environment does not decide what
// the cluster sorts by.
func (s *Server) initArgs(user []string) ([]string, error) {
	given := func(names ...string) bool {
		return slices.ContainsFunc(user, func(arg string) bool { return slices.Contains(names, optionName(arg)) })
	}
	for _, name := range forbiddenInit {
		if given(name) {
			return nil, fmt.Errorf("%w: bootstrap.initdb contains %q, which pgkeeper sets itself: remove it", ErrOptions, name)
		}
	}
	args := []string{"--pgdata=" + s.o.DataDir, "--username=" + s.o.Superuser.Username,
		"--no-sync"} // the whole file system is synced at the end, before the tombstone goes
	if !given("data-checksums", "no-data-checksums", "k") {
		args = append(args, "--data-checksums")
	}
	if !given("encoding", "E") {
		args = append(args, "--encoding=UTF8")
	}
	if !given("locale", "no-locale", "lc-collate", "lc-ctype") {
		args = append(args, "--locale=C.UTF-8")
	}
	if !given("auth", "A", "auth-host") {
		args = append(args, "--auth-host=scram-sha-256")
	}
	if s.o.Superuser.Password == "" && !s.owner.self {
		return nil, fmt.Errorf("%w: %s.password is missing: as root, pgkeeper logs in to its server with it", ErrOptions, s.o.Superuser.Configured)
	}
	if !given("auth", "A", "auth-local") {
		args = append(args, "--auth-local="+map[bool]string{true: "peer", false: "scram-sha-256"}[s.o.Superuser.Password == ""])
	}
	return append(args, user...), nil
}

// optionName is the name in "--name=value", "--name", "-n" or "-nvalue".
func optionName(arg string) string {
	if long, isLong := strings.CutPrefix(arg, "--"); isLong {
		name, _, _ := strings.Cut(long, "=")
		return name
	}
	if len(arg) > 1 && arg[0] == '-' {
		return arg[1:2]
	}
	return arg
}

func (s *Server) initdb(ctx context.Context, args []string, lock *os.File) error {
	files := []*os.File{lock}
	if password := s.o.Superuser.Password; password != "" {
		if strings.ContainsAny(password, "\r\n\x00") {
			return fmt.Errorf("%w: %s.password contains a line break", ErrOptions, s.o.Superuser.Configured)
		}
		pipe, err := s.secretPipe(password)
		if err != nil {
			return err
		}
		defer pipe.Close()
		files = append(files, pipe)
		args = append(args, "--pwfile=/dev/fd/4")
	}
	_, err := s.run(ctx, job{program: "initdb", args: args, files: files, out: func(line string) {
		if !strings.HasPrefix(line, "running bootstrap script") { // which makes pg_control; most of the work is yet to come
			return
		}
		if _, err := s.inscribe(); err != nil {
			s.o.Log.Debug("identifier of the new cluster not known yet", "error", err)
		}
	}})
	return err
}

// fresh runs work that fills the empty data directory, between tombstone and
// durability. A directory that interrupted work of the same kind left is emptied
// first; any other content is refused. places are where else the work may write.
func (s *Server) fresh(ctx context.Context, grave Tombstone, places []string, work func(lock *os.File) error) (err error) {
	lock, err := s.lockJob()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.makeEmpty(); err != nil {
		return err
	}
	if err := s.bury(grave); err != nil {
		return err
	}
	if err = s.owner.ensureDir(s.o.DataDir, 0o700); err == nil {
		// An existing directory may be open to others, which PostgreSQL refuses.
		err = s.owner.do(func() error { return os.Chmod(s.o.DataDir, 0o700) })
	}
	volumes := s.watched(places...)
	defer volumes.close()
	if err == nil {
		err = work(lock)
	}
	worked := s.o.Now()
	if err == nil {
		err = s.syncAll(volumes)
	}
	s.o.Log.Debug("data directory filled", "action", grave.Kind, "sync", s.o.Now().Sub(worked))
	if err != nil {
		return errors.Join(errCancelled(ctx, err), s.cleanUp())
	}
	return s.unbury()
}

// makeEmpty makes sure that the data directory is empty or absent.
func (s *Server) makeEmpty() error {
	var state cluster.DataDir
	err := s.owner.do(func() (err error) {
		state, err = s.directory()
		return err
	})
	if err != nil || state == cluster.DataEmpty {
		return err
	}
	_, what, err := s.settled()
	switch {
	case err != nil:
		return err
	case what == remainsDisposable:
		return s.cleanUp()
	}
	return fmt.Errorf("%w: %s: it is never overwritten; move it aside first", ErrNotEmpty, s.o.DataDir)
}

// cleanUp removes what failed work left in a directory that was empty before, and
// then its tombstone. Tablespaces and a WAL directory elsewhere are emptied too.
func (s *Server) cleanUp() error {
	if err := s.removeAll(); err != nil {
		return fmt.Errorf("remove what is left in %s: %w", s.o.DataDir, err)
	}
	return s.unbury()
}

// removeAll empties the data directory, and before it what belongs to it elsewhere. First
// goes what a copy is known by, so that nobody takes for one what an interruption leaves.
func (s *Server) removeAll() error {
	return s.owner.do(func() error {
		if has, err := exists(s.o.DataDir); err != nil || !has {
			return err
		}
		for _, name := range []string{"global/pg_control", "backup_label"} {
			if err := removeFile(s.data(name)); err != nil { // guard: removal_begins_with_control — S5
				return err
			}
		}
		for _, link := range s.links() {
			if err := link.empty(); err != nil {
				return err
			}
		}
		return removeContents(s.o.DataDir)
	})
}

func appendLines(path string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	content = append(content, "\n# bootstrap.pg_hba\n"+strings.Join(lines, "\n")+"\n"...)
	return writeFile(path, content, 0o600)
}
