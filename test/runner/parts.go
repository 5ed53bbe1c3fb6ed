package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// part is one step of the suite.
type part struct {
	name  string
	title string
	// optional parts run only when they are asked for by name.
	optional bool
	// beside: it has what the parts after it leave of the processors, which mostly wait: no time in it is real, or it has
	// plenty. On a slow machine it runs in its turn.
	beside bool
	run    func(context.Context, *suite) tally
}

// allParts is the suite, in its order: cheap and telling first.
func allParts() []part {
	return []part{
		{name: "deps", title: "what the tests need is installed", run: check("script/install-deps", "test")},
		{name: "build", title: "the static binary", run: check("make", "--no-print-directory", "build")},
		{name: "containers", title: "what deploy/ ships for containers, on a container engine", beside: true, run: containers},
		{name: "lint", title: "go vet, golangci-lint, the rooms' import rules", beside: true, run: check("make", "--no-print-directory", "lint")},
		{name: "unit", title: "unit, lifecycle, conformance, fuzz seeds", run: unit()},
		{name: "files", title: "what deploy/ ships, read by its readers' own libraries", run: check("make", "--no-print-directory", "files")},
		{name: "mutants", title: "every guard of the safety argument is missed when it is gone", run: check("make", "--no-print-directory", "mutants")},
		// Seeds that passed when this was written: about one in fifty thousand fresh ones found something on 2026-11-29, in the product or
		// the model, and whoever changes something else should not meet it here. BASE=random belongs here once two million have passed.
		{name: "sim", title: "50,000 simulated schedules", beside: true, run: check("make", "--no-print-directory", "sim", "SEEDS=50000", "BASE=5000000")},
		{name: "integration", title: "real PostgreSQL, etcd and HAProxy, with the race detector", run: integration},
		{name: "chaos", title: "six minutes of real faults under a fresh seed, as root", run: chaos},
		{name: "short", title: "unit tests without the slow ones", optional: true, run: unit("-short")},
		{name: "failover", title: "one failover, seen by a client", optional: true, run: check("bin/pgkeeper", "demo", "--exit", "--replicas", "2")},
		{name: "fuzz", title: "every fuzz target", optional: true, run: fuzz},
	}
}

func defaultParts() []part {
	var parts []part
	for _, p := range allParts() {
		if !p.optional {
			parts = append(parts, p)
		}
	}
	return parts
}

// pick turns "unit,lint" into parts, in the suite's order whatever the order of the words.
func pick(list string) ([]part, error) {
	if strings.TrimSpace(list) == "" {
		return defaultParts(), nil
	}
	wanted := map[string]bool{}
	for word := range strings.SplitSeq(list, ",") {
		wanted[strings.TrimSpace(word)] = true
	}
	var parts []part
	for _, p := range allParts() {
		if wanted[p.name] {
			parts = append(parts, p)
			delete(wanted, p.name)
		}
	}
	for word := range wanted {
		return nil, fmt.Errorf("unknown part %q: choose from %s", word, strings.Join(names(allParts()), ", "))
	}
	return parts, nil
}

func names(parts []part) []string {
	list := make([]string, 0, len(parts))
	for _, p := range parts {
		list = append(list, p.name)
	}
	return list
}

// check is a part that is one command: it passed or it failed.
func check(name string, args ...string) func(context.Context, *suite) tally {
	return func(ctx context.Context, s *suite) tally {
		var t tally
		if err := s.command(ctx, nil, name, args...).Run(); err != nil {
			fmt.Fprintf(s.out, "%s %s: %v\n", name, strings.Join(args, " "), err)
			t.fail(strings.Join(append([]string{name}, args...), " "))
			return t
		}
		t.passed++
		return t
	}
}

// unit runs every package without tags, two for each processor of a machine that has time for it, since the longest wait
// for leases to end. vet is left to lint, which runs all of it.
func unit(flags ...string) func(context.Context, *suite) tally {
	return func(ctx context.Context, s *suite) tally {
		width := 2 * runtime.NumCPU()
		if s.alone {
			width = runtime.NumCPU()
		}
		args := append([]string{"-vet=off", "-timeout", "5m", "-p", strconv.Itoa(width)}, flags...)
		return s.goTest(ctx, nil, append(args, everything)...)
	}
}

// clusters is the package of whole clusters, each a dozen processes.
const clusters = "/test/integration"

// integration runs the packages that have files behind the tag, with the race detector, which needs cgo. The package of
// clusters has it in the agents alone: in the test's own process it watches the embedded etcd, for a third of the time. The
// others run beside it, since most of both is waiting. On a slow machine they run after it, one by one, and its agents are without
// the detector, which makes the start of each process seven times as dear: load 30 on two processors, seconds for a start.
func integration(ctx context.Context, s *suite) tally {
	packages, err := s.packagesWithTag(ctx, "integration")
	if err != nil {
		var t tally
		fmt.Fprintln(s.out, err)
		t.fail("integration: " + err.Error())
		return t
	}
	var whole, others []string
	for _, p := range packages {
		if strings.HasSuffix(p, clusters) {
			whole = append(whole, p)
		} else {
			others = append(others, p)
		}
	}
	args := []string{"-vet=off", "-count=1", "-timeout", "45m", "-tags", "integration"}
	agents, race := []string{"TESTBED_RACE=1"}, []string{"-race"}
	if s.alone {
		agents, race = nil, append(race, "-p", "1")
	}
	var t, beside tally
	var running sync.WaitGroup
	if len(whole) > 0 {
		running.Go(func() { beside = s.goTest(ctx, agents, slices.Concat(args, whole)...) })
	}
	if s.alone {
		running.Wait()
	}
	if len(others) > 0 {
		t = s.goTest(ctx, []string{"CGO_ENABLED=1"}, slices.Concat(race, args, others)...)
	}
	running.Wait()
	t.add(beside)
	if len(packages) == 0 {
		fmt.Fprintln(s.out, "no package has files behind the integration tag")
	}
	return t
}
