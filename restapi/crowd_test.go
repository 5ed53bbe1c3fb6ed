//go:build (integration || bench) && !race

package restapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The race detector ends a process at 8,128 goroutines, so this is not run under it:
// go test -tags bench -run TenThousand ./restapi

// crowdVariable makes the test binary a client that opens connections and holds
// them: the server's and the clients' open files are of different processes then.
const crowdVariable = "PGKEEPER_TEST_CROWD"

// crowd is how many connections are held.
const crowd = 10000

// TestACrowd is not a test of its own: it is the client of the next one.
func TestACrowd(t *testing.T) {
	address := os.Getenv(crowdVariable)
	if address == "" {
		return
	}
	var held []net.Conn
	for range crowd {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("after %d connections: %v", len(held), err)
		}
		held = append(held, conn)
		// A request, so that it is idle and not new: those are cut off after 5 s.
		if code := askRaw(t, conn, askPrimary); code != http.StatusOK {
			t.Fatalf("code %d", code)
		}
	}
	fmt.Println("held", len(held))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other end is closed
	for _, conn := range held {
		_ = conn.Close()
	}
}

// checked is the median and the 99th percentile of many checks, each over a new
// connection as a load balancer makes them.
func checked(t *testing.T, address string) (median, p99 time.Duration) {
	t.Helper()
	var took []time.Duration
	for range 500 {
		began := time.Now()
		conn := connect(t, address)
		if code := askRaw(t, conn, askPrimary); code != http.StatusOK {
			t.Fatalf("code %d", code)
		}
		took = append(took, time.Since(began))
		_ = conn.Close()
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

func TestTenThousandIdleConnectionsDoNotDelayPrimary(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < crowd+otherFiles {
		t.Skipf("the limit of open files is %d", files.Cur)
	}
	if files.Cur != files.Max {
		t.Errorf("the soft limit of open files is %d, the hard one %d: it was not raised", files.Cur, files.Max)
	}
	address := serving(t, newNode(t, primary()), ServeOptions{})
	before, beforeTail := checked(t, address)

	client := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestACrowd$")
	client.Env = append(os.Environ(), crowdVariable+"="+address)
	hold, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || line != "held "+strconv.Itoa(crowd)+"\n" {
		t.Fatalf("the crowd says %q, %v", line, err)
	}
	during, tail := checked(t, address)
	t.Logf("measured: /primary over a new connection, median (p99) of 500: %s (%s) alone, %s (%s) beside %d idle connections", before, beforeTail, during, tail, crowd)
	// The tail is that of the machine, which other tests use at the same time. What a
	// crowd costs each check shows in the median.
	if delay := during - before; delay > 5*time.Millisecond {
		t.Errorf("delayed by %s, want 5 ms at most", delay)
	}
	if err := hold.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := client.Wait(); err != nil {
		t.Error(err)
	}
}
