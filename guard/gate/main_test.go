package gate

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/pgkeeper/pgkeeper/guard"
)

// roleEnv makes the test binary a guard; a guard makes it a gate by its arguments, as
// `pgkeeper guard` does.
const roleEnv = "PGKEEPER_GATE_TEST_GUARD"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "gate":
		os.Exit(ended(runGate()))
	case os.Getenv(roleEnv) != "":
		os.Exit(ended(runGuard()))
	}
	os.Exit(m.Run())
}

func ended(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func stderrLog() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

func runGate() error {
	spec, page, err := guard.InheritedGate()
	if err != nil {
		return err
	}
	return Run(context.Background(), spec, page, stderrLog())
}

func runGuard() error {
	return guard.Run(context.Background(), guard.Options{
		RuntimeDir: os.Args[1], Log: stderrLog(), Version: "test", Gate: []string{"gate-under-test", "gate"},
	})
}
