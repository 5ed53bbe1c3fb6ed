//go:build chaos

package chaos

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// trip is the time to a host and back: nobody listens there, so it refuses at once.
func trip(t *testing.T, host string) (time.Duration, bool) {
	t.Helper()
	began := time.Now()
	dialer := net.Dialer{Timeout: 900 * time.Millisecond}
	_, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(hostAddress(host), "1"))
	return time.Since(began), errors.Is(err, syscall.ECONNREFUSED)
}

func TestEachFaultOfTheNetworkBreaksOneHostAndIsMended(t *testing.T) {
	needNetwork(t)
	n := &testbed.Node{Name: "pg1"}
	for name, c := range map[string]struct {
		strike func() (func() error, error)
		passes bool
		least  time.Duration
	}{
		"link down": {func() (func() error, error) { return hostDown(n.Name) }, false, 0},
		"cut in":    {func() (func() error, error) { return lose(cutIn(nil, n)...) }, false, 0},
		"cut out":   {func() (func() error, error) { return lose(cutOut(nil, n)...) }, false, 0},
		"delay":     {func() (func() error, error) { return delayHost(n.Name) }, true, delayBy},
	} {
		t.Run(name, func(t *testing.T) {
			heal, err := c.strike()
			if err != nil {
				t.Fatal(err)
			}
			if took, passes := trip(t, n.Name); passes != c.passes || took < c.least {
				t.Errorf("the way to the host and back took %v (an answer: %t), want an answer: %t, after at least %v", took, passes, c.passes, c.least)
			}
			if took, passes := trip(t, "pg2"); !passes || took > 200*time.Millisecond {
				t.Errorf("the way to another host took %v (an answer: %t)", took, passes)
			}
			if err := heal(); err != nil {
				t.Fatal(err)
			}
			if took, passes := trip(t, n.Name); !passes || took > 200*time.Millisecond {
				t.Errorf("after mending, the way took %v (an answer: %t)", took, passes)
			}
		})
	}
}
