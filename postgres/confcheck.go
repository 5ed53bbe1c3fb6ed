package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkConf lets PostgreSQL itself read a configuration before it becomes the
// server's: `postgres -C` parses it as a start would, knows every parameter of
// its version and every limit, and ends in about 15 ms without touching the
// directory. A configuration that is in force already is not checked again.
func (s *Server) checkConf(ctx context.Context, text string) error {
	var unchanged bool
	path := s.conf(".pgkeeper.check.conf")
	err := s.owner.do(func() error {
		current, found, err := readOptional(s.conf(confName))
		if err != nil {
			return err
		}
		if unchanged = found && withoutUpstream(string(current)) == withoutUpstream(text); unchanged {
			return nil
		}
		return os.WriteFile(path, []byte(s.checkedText(text)), 0o600)
	})
	if err != nil || unchanged {
		return err
	}
	err = s.readAsStart(ctx, s.o.DataDir, path)
	removed := s.owner.do(func() error { return os.Remove(path) })
	if err != nil {
		return err
	}
	return removed
}

// TryConfig has PostgreSQL read a configuration as WriteConfig would write it, in a folder of its own that is removed again:
// ErrParameter where no server would start with it. Nothing of the member is touched, and none of it needs to be there.
func (s *Server) TryConfig(ctx context.Context, spec ConfigSpec) (err error) {
	var folder, path string
	err = s.owner.do(func() (err error) {
		if folder, err = os.MkdirTemp("", "pgkeeper-validate"); err != nil {
			return err
		}
		path = filepath.Join(folder, confName)
		return os.WriteFile(path, []byte(s.checkedText(s.renderConf(spec))), 0o600)
	})
	if folder != "" {
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	}
	if err != nil {
		return fmt.Errorf("write a configuration to be tried: %w", err)
	}
	return s.readAsStart(ctx, folder, path)
}

// readAsStart has PostgreSQL read the file of a configuration, which a start would do for a data directory.
func (s *Server) readAsStart(ctx context.Context, data, file string) error {
	_, err := s.run(ctx, job{program: "postgres", args: []string{"-D", data, "--config-file=" + file, "-C", "port"}})
	if err != nil {
		return s.explainConf(err)
	}
	return nil
}

// withoutUpstream is a configuration without who is followed, which changes in
// the middle of a failover and cannot be wrong: it is rendered, not configured.
func withoutUpstream(text string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(text, "\n"), isUpstream), "")
}

func isUpstream(line string) bool {
	return strings.HasPrefix(line, "primary_conninfo = ") || strings.HasPrefix(line, "primary_slot_name = ") || line == crashEnds
}

// checkedText leaves out the include, which may not exist yet and is not ours to
// judge.
func (s *Server) checkedText(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "include ") || strings.HasPrefix(line, "include_if_exists ") {
			lines[i] = "\n"
		}
	}
	return strings.Join(lines, "")
}

// confComplaint is how PostgreSQL words a parameter it does not take.
var confComplaint = whenUsed(`(?:LOG|FATAL|ERROR):\s+((?:unrecognized configuration parameter|invalid value for parameter|parameter|syntax error|[^;]*is outside the valid range)[^;]*)`)

func (s *Server) explainConf(err error) error {
	said := saidBy(err)
	if said == "" {
		return fmt.Errorf("check the configuration: %w", err)
	}
	complaints := confComplaint().FindAllStringSubmatch(said, -1)
	words := make([]string, 0, len(complaints))
	for _, c := range complaints {
		what, _, _ := strings.Cut(c[1], ` in file "`)
		words = append(words, strings.TrimSpace(what))
	}
	if len(words) == 0 {
		words = append(words, said)
	}
	return fmt.Errorf("%w: PostgreSQL %d: %s: correct or remove it in postgresql.parameters (pgkeeper edit-config, or the member's own file)",
		ErrParameter, s.version.major, strings.Join(words, "; "))
}
