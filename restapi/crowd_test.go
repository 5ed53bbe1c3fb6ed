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
	"strings"
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

// gather starts the crowd and waits until it is complete; the result disperses it.
func gather(t *testing.T, address string) (disperse func()) {
	t.Helper()
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
	return func() {
		if err := hold.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if err := client.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// load is what else the machine does.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// middle is the median.
func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// pairs are how often it is measured with the crowd and without, in turn: the tail of
// one run is the machine's, which others use at the same time, and differs more from
// the next one's than a crowd could make it.
const pairs = 15

func TestTenThousandIdleConnectionsDoNotDelayPrimary(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < crowd+otherFiles {
		t.Skipf("the limit of open files is %d", files.Cur)
	}
	if files.Cur != files.Max {
		t.Errorf("the soft limit of open files is %d, the hard one %d: it was not raised", files.Cur, files.Max)
	}
	address := serving(t, newNode(t, primary(), onSockets), ServeOptions{})
	var alone, aloneTail, beside, besideTail, delay, delayTail []time.Duration
	for i := range pairs {
		var m, mTail time.Duration
		if i%2 == 0 { // every second pair begins with the crowd
			m, mTail = checked(t, address)
		}
		disperse := gather(t, address)
		c, cTail := checked(t, address)
		disperse()
		if i%2 != 0 {
			m, mTail = checked(t, address)
		}
		t.Logf("measured: /primary over a new connection, median (p99) of 500: %s (%s) alone, %s (%s) beside %d idle connections, load %s", m, mTail, c, cTail, crowd, load())
		alone, aloneTail = append(alone, m), append(aloneTail, mTail)
		beside, besideTail = append(beside, c), append(besideTail, cTail)
		delay, delayTail = append(delay, c-m), append(delayTail, cTail-mTail)
	}
	t.Logf("measured: of %d pairs the middle: median %s alone, %s beside; p99 %s alone, %s beside", pairs, middle(alone), middle(beside), middle(aloneTail), middle(besideTail))
	t.Logf("measured: the middle difference within a pair: median %s (%s to %s), p99 %s (%s to %s)",
		middle(delay), delay[0], delay[pairs-1], middle(delayTail), delayTail[0], delayTail[pairs-1])
	if middle(delay) > 5*time.Millisecond || middle(delayTail) > 5*time.Millisecond {
		t.Errorf("delayed by %s, the 99th percentile by %s, want 5 ms at most", middle(delay), middle(delayTail))
	}
}
