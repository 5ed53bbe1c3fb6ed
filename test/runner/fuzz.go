package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// fuzzTarget is one fuzz function: go fuzzes a single target at a time.
type fuzzTarget struct {
	pkg, name string
}

// fuzz runs every fuzz target for the chosen time, one after the other.
func fuzz(ctx context.Context, s *suite) tally {
	var t tally
	targets, err := s.fuzzTargets(ctx)
	if err != nil {
		fmt.Fprintln(s.out, err)
		t.fail("fuzz: " + err.Error())
		return t
	}
	for _, target := range targets {
		if ctx.Err() != nil {
			t.fail(target.pkg + "." + target.name + " (interrupted before it ran)")
			continue
		}
		fmt.Fprintf(s.out, "-- %s %s for %s\n", target.pkg, target.name, s.opts.fuzztime)
		cmd := s.command(ctx, nil, "go", "test", "-vet=off", "-run", "^$", "-fuzz", "^"+target.name+"$", "-fuzztime", s.opts.fuzztime, target.pkg)
		if err := cmd.Run(); err != nil {
			t.fail(target.pkg + "." + target.name)
			continue
		}
		t.passed++
	}
	return t
}

func (s *suite) fuzzTargets(ctx context.Context) ([]fuzzTarget, error) {
	cmd := s.command(ctx, nil, "go", "test", "-vet=off", "-list", "^Fuzz", everything)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("list the fuzz targets: %w\n%s", err, stdout.String())
	}
	return parseFuzzList(stdout.String()), nil
}

// parseFuzzList reads `go test -list`: the names of a package, then its "ok" line.
func parseFuzzList(text string) []fuzzTarget {
	var targets []fuzzTarget
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				targets = append(targets, fuzzTarget{pkg: fields[1], name: name})
			}
			names = nil
		}
	}
	return targets
}
