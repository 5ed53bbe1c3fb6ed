package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/supervisor"
)

// parentPipe is the descriptor on which a starter passes the pipe whose end of
// file stops the node.
const parentPipe = 3

// agent is the supervisor: it starts the worker and the guard.
func (a *app) agent() *cobra.Command {
	var untilParentExits, container bool
	return a.command(verb{
		use: "agent [FILE]", group: groupNode, args: cobra.MaximumNArgs(1),
		short: "run beside a PostgreSQL server and keep its cluster healthy",
		long: `Run beside a PostgreSQL server and keep its cluster healthy.

Signals: TERM and INT hand the primary over and stop; HUP reloads the configuration; USR2 replaces the agent by
the binary on disk with the server untouched.`,
		flags: func(f flagSet) {
			f.BoolVar(&container, "container", false, "find a missing name (kept in the state directory, at first the host's) and missing connect addresses (the host's own)")
			f.BoolVar(&untilParentExits, "until-parent-exits", false, "stop all when descriptor 3, a pipe held by the starter, ends (demos, tests)")
		},
		run: func(cmd *cobra.Command, args []string) error {
			path := one(args)
			if path == "" {
				path = a.configPath()
			}
			if container {
				if err := a.fillFromContainer(path); err != nil {
					return err
				}
			}
			return a.runAgent(cmd.Context(), path, untilParentExits)
		},
	})
}

func (a *app) runAgent(ctx context.Context, path string, untilParentExits bool) error {
	c, err := a.loadAgent(path)
	if err != nil {
		return err
	}
	options, err := a.supervision(c, path)
	if err != nil {
		return err
	}
	if untilParentExits || c.Keeper.UntilParentExits {
		if err := checkPipe(parentPipe); err != nil {
			return err
		}
		options.ParentPipe = parentPipe
		options.Guard = append(options.Guard, "--parent-pipe", strconv.Itoa(parentPipe))
	}
	code, err := supervisor.Run(ctx, options)
	switch {
	case errors.Is(err, supervisor.ErrRunning):
		return fmt.Errorf("start the agent of %s: %w (runtime directory %s): stop that one first, or give this member its own name or pgkeeper.runtime_dir", c.Name, err, c.Keeper.RuntimeDir)
	case errors.Is(err, supervisor.ErrRefused):
		return exitCode(exitFailed) // the worker has said why
	case err != nil:
		return err
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// supervision says how to start worker and guard. The worker reads the
// configuration again by itself; the guard reads none.
func (a *app) supervision(c *config.Config, path string) (supervisor.Options, error) {
	exe, err := os.Executable()
	if err != nil {
		return supervisor.Options{}, fmt.Errorf("find this program: %w", err)
	}
	worker := []string{exe, "agent-worker"}
	if path != "" {
		worker = append(worker, "--config", path)
	}
	guard := []string{
		exe, "guard", "--runtime-dir", c.Keeper.RuntimeDir, "--state-dir", c.Keeper.StateDir,
		"--log-type", c.Log.Type, "--log-level", c.Log.Slog().String(),
	}
	return supervisor.Options{RuntimeDir: c.Keeper.RuntimeDir, Worker: worker, Guard: guard, Log: newLog(c.Log, a.err)}, nil
}

// loadAgent reads the configuration of a process that runs for long; errors in
// it refuse.
func (a *app) loadAgent(path string) (*config.Config, error) {
	c, problems, err := a.load(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	bad := problems.Errors()
	if len(bad) == 0 && c != nil {
		return c, nil
	}
	if path == "" {
		return nil, errors.New("no configuration: give a file with -c, in $PGKEEPER_CONFIG or as /etc/pgkeeper/pgkeeper.yml")
	}
	for _, p := range bad {
		fmt.Fprintln(a.err, "error: "+p.String())
	}
	return nil, fmt.Errorf("%d problems in the configuration %s: nothing was started", len(bad), filepath.Clean(path))
}

// reloadAgent reads the configuration of a process that runs already. Who asked for
// it may be far from the log: the error has the first problems.
func (a *app) reloadAgent(path string) (*config.Config, error) {
	const shown = 3
	c, problems, err := a.load(path)
	bad := problems.Errors()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the configuration: %w", err)
	case len(bad) == 0 && c != nil:
		return c, nil
	}
	var lines []string
	for _, p := range bad[:min(shown, len(bad))] {
		lines = append(lines, p.String())
	}
	if len(bad) > shown {
		lines = append(lines, fmt.Sprintf("and %d more: pgkeeper validate %s", len(bad)-shown, filepath.Clean(path)))
	}
	return nil, errors.New(strings.Join(lines, "; "))
}

// load reads the configuration without what the supervisor tells its worker
// through the environment: that is no setting.
func (a *app) load(path string) (*config.Config, config.Problems, error) {
	env := slices.DeleteFunc(slices.Clone(a.env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(privateEnv, name)
	})
	return config.Load(path, env)
}

// privateEnv is between the supervisor and its worker, and between this program
// and the one that replaces it.
var privateEnv = []string{"PGKEEPER_NOTIFY_FD", "PGKEEPER_UPGRADE"}

// checkPipe refuses a descriptor on which no end of file will ever come.
func checkPipe(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("--until-parent-exits: descriptor %d is no pipe: the starter must pass the read end of one", fd)
	}
	return nil
}

// hidden are the processes that the agent starts.
func (a *app) hidden() []func() *cobra.Command {
	return []func() *cobra.Command{a.worker, a.guard, a.gate, a.probe, a.poolerDeadman}
}
