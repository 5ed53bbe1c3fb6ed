package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// firstStop is how long the server of a post_bootstrap script may take to write
	// its shutdown checkpoint before it is killed.
	firstStop = time.Minute
	// scriptLines of a script's output go into the log.
	scriptLines = 200
)

// postBootstrap runs the script of spec against the new database cluster, before
// anybody else knows of it: bootstrap ends in one transaction in the store, and may
// lose it (SAFETY S7). So the server it talks to is nobody's primary. It listens on
// no address, its socket lies in a directory that only the server's user enters, it
// archives nothing, and it has ended, cleanly, before the data directory counts as
// made: a script that fails, or an agent that dies, leaves a tombstone or nothing.
func (s *Server) postBootstrap(ctx context.Context, spec InitSpec, lock *os.File) (err error) {
	if len(spec.PostBootstrap) == 0 {
		return nil
	}
	private := filepath.Join(s.o.StateDir, "bootstrap")
	if err := socketFits(filepath.Join(private, filepath.Base(s.socketPath())), "pgkeeper.state_dir"); err != nil {
		return fmt.Errorf("post_bootstrap: %w", err)
	}
	if err := os.RemoveAll(private); err != nil { // of one that was interrupted
		return err
	}
	if err := s.owner.ensureDir(private, 0o700); err != nil {
		return fmt.Errorf("make the socket directory of post_bootstrap: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	if _, err := s.WriteConfig(ctx, spec.Config); err != nil {
		return err
	}
	stop, err := s.startFirst(ctx, spec, private, lock)
	if err != nil {
		return fmt.Errorf("start a server for post_bootstrap: %w", err)
	}
	err = s.runScript(ctx, spec.PostBootstrap, private)
	return errors.Join(err, stop())
}

// startFirst starts the server and returns when it takes connections. stop ends it and
// reports whether it ended cleanly.
func (s *Server) startFirst(ctx context.Context, spec InitSpec, private string, lock *os.File) (stop func() error, err error) {
	start, err := s.startSpec(true, spec.Config.Settings)
	if err != nil {
		return nil, err
	}
	args := append(start.Argv[1:],
		"--listen_addresses=", "--unix_socket_directories="+private,
		"--archive_mode=off",           // two clusters would archive the same names, if this one loses
		"--synchronous_standby_names=", // nobody is there to confirm
		"--logging_collector=off", "--log_destination=stderr", "--log_min_messages=warning", "--lc_messages=C")
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a cancelled script ends first, then its server
	ready, ended := make(chan struct{}), make(chan error, 1)
	said := func(line string) {
		if ready != nil && strings.Contains(line, "ready to accept connections") {
			close(ready)
			ready = nil
		}
	}
	isReady := ready
	go func() {
		_, err := s.run(running, job{
			program: "postgres", args: args, base: start.Env, files: []*os.File{lock}, line: said,
			stop: syscall.SIGINT, patience: firstStop,
		})
		ended <- err
	}()
	stop = func() error {
		cancel()
		<-ended //nolint:errcheck // says that it was told to end; whether it did so well is in pg_control
		return s.owner.do(func() error {
			control, err := s.readControl()
			if err == nil && !control.State.Clean() {
				err = fmt.Errorf("the server of post_bootstrap did not shut down within %s (%s)", firstStop, control.State)
			}
			return err
		})
	}
	select {
	case <-isReady:
		return stop, nil
	case err := <-ended:
		cancel()
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), stop())
	}
}

// runScript calls the user's command as Patroni does: the connection string is its last
// argument, and the password is where PGPASSFILE says. Its environment is the agent's,
// without what is pgkeeper's own or holds secrets.
func (s *Server) runScript(ctx context.Context, command []string, private string) error {
	c := s.o.Superuser
	env := []string{"PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0"}
	if c.Password != "" {
		passfile := filepath.Join(private, "pgpass")
		if err := s.owner.do(func() error { return writeFileAs(passfile, passLine(c), 0o600, -1, -1) }); err != nil {
			return fmt.Errorf("write the password file of post_bootstrap: %w", err)
		}
		env = append(env, "PGPASSFILE="+passfile)
	}
	dsn := conninfo([]keyword{{"dbname", s.o.Database}, {"user", c.Username}, {"host", private}, {"port", s.port}})
	began := s.o.Now()
	s.o.Log.Info("post_bootstrap started", "command", command[0])
	lines := 0
	_, err := s.run(ctx, job{
		program: "post_bootstrap", path: command[0], args: append(command[1:len(command):len(command)], dsn),
		base: s.serverEnv(), env: env, oneStream: true,
		line: func(line string) {
			switch lines++; {
			case lines <= scriptLines:
				s.o.Log.Info("post_bootstrap said", "line", s.withoutPasswords(shortened(line)))
			case lines == scriptLines+1:
				s.o.Log.Info("post_bootstrap says more than is logged", "lines", scriptLines)
			}
		},
	})
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // a child it left behind still has its output: the script itself has ended well
		return fmt.Errorf("bootstrap.%w", err)
	}
	s.o.Log.Info("post_bootstrap done", "duration", s.o.Now().Sub(began))
	return nil
}
