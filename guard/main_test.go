package guard

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests with real processes start this binary again in one of these roles.
const roleEnv = "PGKEEPER_GUARD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "guard":
		runGuard()
	case "worker":
		runWorker()
	case "postmaster":
		runPostmaster()
	case "backend":
		runBackend()
	case "hidden":
		runHidden()
	case "looker":
		runLooker()
	default:
		os.Exit(m.Run())
	}
}

// runGuard is what `pgkeeper guard` does.
func runGuard() {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := Options{RuntimeDir: os.Args[1], StateDir: os.Args[2], Log: log, Version: "test"}
	if len(os.Args) > 3 {
		o.UntilParentExits = true
		o.ParentPipe, _ = strconv.Atoi(os.Args[3])
	}
	if err := Run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runWorker starts a server that may write and renews its deadline every 20 ms:
// arguments are the socket, the data directory and the diary. The diary hears the
// first refusal.
func runWorker() {
	ctx := context.Background()
	socket, data, diary := os.Args[1], os.Args[2], os.Args[3]
	c, err := Connect(ctx, socket)
	if err == nil {
		_, err = c.Hello(ctx, 1, "test")
	}
	// Far enough that a busy machine renews in time until this process is frozen.
	renew := func() error { return c.Deadline(ctx, 5, Now()+4*time.Second, 300*time.Millisecond) }
	if err == nil {
		err = renew()
	}
	if err == nil {
		_, err = c.Start(ctx, StartOptions{
			Argv: []string{os.Args[0], "2", "ignore", diary}, Env: []string{roleEnv + "=postmaster"},
			DataDir: data, LogPath: diary + ".log", Writable: true, Term: 5,
		})
	}
	for tick := time.NewTicker(20 * time.Millisecond); err == nil; {
		<-tick.C
		err = renew()
	}
	note(diary, "worker: "+err.Error())
	os.Exit(0)
}

// runPostmaster plays a postmaster: arguments are the number of backends, what to
// do at SIGQUIT (quit or ignore), and a file that tells the outside what happened.
func runPostmaster() {
	n, _ := strconv.Atoi(os.Args[1])
	stubborn, diary := os.Args[2] == "ignore", os.Args[3]
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGQUIT, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1)
	var backends []*exec.Cmd
	for range n {
		b := exec.Command(os.Args[0])
		b.Env = append(os.Environ(), roleEnv+"=backend")
		if err := b.Start(); err != nil {
			os.Exit(70)
		}
		backends = append(backends, b)
	}
	note(diary, fmt.Sprintf("up uid=%d oom=%s", os.Geteuid(), oomScore()))
	for s := range c {
		note(diary, s.String())
		switch {
		case s == unix.SIGHUP || s == unix.SIGUSR1:
		case s == unix.SIGQUIT && stubborn:
		default:
			for _, b := range backends {
				_ = b.Process.Kill()
				_ = b.Wait()
			}
			os.Exit(3)
		}
	}
}

// runBackend is busy in a query: nothing but SIGKILL ends it.
func runBackend() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGQUIT, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	for range c {
	}
}

func oomScore() string {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return err.Error()
	}
	return string(b[:len(b)-1])
}

func note(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		os.Exit(71)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, text); err != nil {
		os.Exit(72)
	}
}
