//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// trip is the time to a host and back: nobody listens there, so it refuses at once.
func trip(t *testing.T, host string) (time.Duration, bool) {
	t.Helper()
	began := time.Now()
	dialer := net.Dialer{Timeout: 900 * time.Millisecond}
	_, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(lan.Address(host), "1"))
	return time.Since(began), errors.Is(err, syscall.ECONNREFUSED)
}

// free waits until the way to a host is free: the kernel may tell a link's other end
// only a second later that it has its carrier again.
func free(t *testing.T, host string) {
	t.Helper()
	err := testbed.Wait(t.Context(), 10*time.Second, "a free way to "+host, func(context.Context) string {
		if took, passes := trip(t, host); !passes || took >= delayBy {
			return fmt.Sprintf("it took %v (an answer: %t)", took, passes)
		}
		return ""
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEachFaultOfTheNetworkBreaksOneHostAndIsMended(t *testing.T) {
	needNetwork(t)
	n := &testbed.Node{Name: "pg1"}
	for name, c := range map[string]struct {
		strike func() (func() error, error)
		passes bool
		least  time.Duration
	}{
		"link down": {func() (func() error, error) { return lan.Unplug(n.Name) }, false, 0},
		"cut in":    {func() (func() error, error) { return lose(cutIn(nil, n)...) }, false, 0},
		"cut out":   {func() (func() error, error) { return lose(cutOut(nil, n)...) }, false, 0},
		"delay":     {func() (func() error, error) { return delayHost(n.Name) }, true, delayBy},
	} {
		t.Run(name, func(t *testing.T) {
			heal, err := c.strike()
			if err != nil {
				t.Fatal(err)
			}
			took, passes := trip(t, n.Name)
			for tries := 0; c.passes && !passes && tries < 3; tries++ { // on a busy machine its patience may be too short
				took, passes = trip(t, n.Name)
			}
			if passes != c.passes || took < c.least {
				t.Errorf("the way to the host and back took %v (an answer: %t), want an answer: %t, after at least %v", took, passes, c.passes, c.least)
			}
			free(t, "pg2")
			if err := heal(); err != nil {
				t.Fatal(err)
			}
			free(t, n.Name)
		})
	}
}
