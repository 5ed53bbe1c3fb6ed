package testbed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

const (
	// BinaryVariable names a program to use in place of one that is built.
	BinaryVariable = "PGKEEPER_BIN"
	// raceVariable, when it is set, has the program built with the race detector.
	raceVariable = "TESTBED_RACE"
)

var binary struct {
	sync.Mutex
	path, dir string
	err       error
}

// Binary builds bin/pgkeeper into a temporary folder, once in the life of this
// program, and with the race detector if this program has it or the environment asks for it.
func Binary(ctx context.Context) (string, error) {
	binary.Lock()
	defer binary.Unlock()
	if binary.path != "" || binary.err != nil {
		return binary.path, binary.err
	}
	if given := os.Getenv(BinaryVariable); given != "" {
		binary.path = given
		return given, nil
	}
	binary.path, binary.err = build(ctx)
	return binary.path, binary.err
}

func build(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "pgk-bin-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the program: %w", err)
	}
	binary.dir = dir
	path := filepath.Join(dir, "pgkeeper")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if raceDetector || os.Getenv(raceVariable) != "" {
		args, env = append(args, "-race"), append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/pgkeeper/pgkeeper/cmd/pgkeeper")...)
	cmd.Env = env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build pgkeeper: %w: %s", err, said.String())
	}
	return path, nil
}

// RemoveBinary deletes what Binary built; TestMain calls it at the end.
func RemoveBinary() error {
	binary.Lock()
	defer binary.Unlock()
	if binary.dir == "" {
		return nil
	}
	return os.RemoveAll(binary.dir)
}

// environment is this process's, for a program of ours. One that was built with the race detector sleeps for a second before
// it exits, so that goroutines still running may show a race: a verb would take that long, and a worker that is replaced be
// away for it.
func environment() []string {
	if _, set := os.LookupEnv("GORACE"); set {
		return os.Environ()
	}
	return append(os.Environ(), "GORACE=atexit_sleep_ms=10")
}
