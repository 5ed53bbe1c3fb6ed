package postgres

import (
	"context"
	"fmt"
	"os"
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
	_, err = s.run(ctx, job{program: "postgres", args: []string{"-D", s.o.DataDir, "--config-file=" + path, "-C", "port"}})
	removed := s.owner.do(func() error { return os.Remove(path) })
	if err != nil {
		return s.explainConf(err)
	}
	return removed
}

// withoutUpstream is a configuration without who is followed, which changes in
// the middle of a failover and cannot be wrong: it is rendered, not configured.
func withoutUpstream(text string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(text, "\n"), isUpstream), "")
}

func isUpstream(line string) bool {
	return strings.HasPrefix(line, "primary_conninfo = ") || strings.HasPrefix(line, "primary_slot_name = ")
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
