package testbed

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				lines := bufio.NewReader(c)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = c.Write([]byte(line))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// ask sends a line and wants it back within limit.
func ask(c net.Conn, limit time.Duration) error {
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

func path(t *testing.T) (*relay, func() net.Conn) {
	t.Helper()
	r, err := newRelay(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r, func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

func TestACutPathEndsItsConnectionsAndTakesNoneUntilItHeals(t *testing.T) {
	r, dial := path(t)
	c := dial()
	if err := ask(c, 30*time.Second); err != nil {
		t.Fatalf("a whole path: %v", err)
	}
	r.set(true, false)
	if err := ask(c, 30*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an old connection over a cut path: %v, want it closed", err)
	}
	if err := ask(dial(), 30*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection over a cut path: %v, want it closed", err)
	}
	r.set(false, false)
	if err := ask(dial(), 30*time.Second); err != nil {
		t.Errorf("a healed path: %v", err)
	}
}

func TestAFrozenPathHoldsWhatIsSentUntilItThaws(t *testing.T) {
	r, dial := path(t)
	c := dial()
	if err := ask(c, 30*time.Second); err != nil {
		t.Fatalf("a whole path: %v", err)
	}
	r.set(false, true)
	if err := ask(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("over a frozen path: %v, want silence", err)
	}
	r.set(false, false)
	if err := ask(c, 30*time.Second); err != nil {
		t.Errorf("after the thaw: %v", err)
	}
}
