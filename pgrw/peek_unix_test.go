//go:build unix

package pgrw

import (
	"net"
	"testing"
)

// pair is both ends of a connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

func TestAnIdleConnectionIsDisturbedByWordsAndByItsEnd(t *testing.T) {
	near, far := pair(t)
	if disturbed(near) {
		t.Error("a quiet connection is disturbed")
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	await(t, "words", func() bool { return disturbed(near) })
	near, far = pair(t)
	_ = far.Close()
	await(t, "the end", func() bool { return disturbed(near) })
	near, _ = pair(t)
	_ = near.Close()
	if !disturbed(near) {
		t.Error("a closed connection is not disturbed")
	}
}

// pgx may leave a goroutine that reads on an idle connection.
func TestALookDoesNotWaitForAReader(t *testing.T) {
	near, _ := pair(t)
	reading := make(chan struct{})
	go func() {
		close(reading)
		_, _ = near.Read(make([]byte, 1)) // until the test ends
	}()
	<-reading
	for range 1000 {
		looked := make(chan bool, 1)
		go func() { looked <- disturbed(near) }()
		found := true
		await(t, "the look", func() bool {
			select {
			case found = <-looked:
				return true
			default:
				return false
			}
		})
		if found {
			t.Fatal("a quiet connection is disturbed")
		}
	}
}
