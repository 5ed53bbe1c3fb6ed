package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
)

// chaosMinutes is how long schedules of real faults are begun; the last one is played
// to its end.
const chaosMinutes = "6"

// chaosPackage and chaosTest are what test/skips.txt calls the part.
const chaosPackage, chaosTest = "test/chaos", "TestChaos"

// chaos breaks real clusters under a fresh seed, so that every run is another one, and
// shows what it does as it goes: the seed is worth nothing when it is printed after the
// machine is gone. A plain user cannot make namespaces.
func chaos(ctx context.Context, s *suite) tally {
	if os.Geteuid() != 0 {
		return s.skipPart(chaosPackage, chaosTest, "needs root, for namespaces and file systems of its own: run it as root")
	}
	seed := lookup(s.env, "CHAOS_SEED")
	if seed == "" {
		seed = strconv.FormatUint(rand.Uint64N(1_000_000)*1000, 10)
	}
	fmt.Fprintf(s.out, "seed %s: the same schedules again with make chaos SEED=%s MINUTES=%s, one of them with SEED=<its own> SCHEDULES=1\n", seed, seed, chaosMinutes)
	return check("make", "--no-print-directory", "chaos", "MINUTES="+chaosMinutes, "SEED="+seed)(ctx, s)
}
