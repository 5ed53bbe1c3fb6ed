// Package freeport gives a test what demo/freeport finds.
//
// It promises what that does, and to end the test when there is no port; no more.
package freeport

import (
	"net"
	"strconv"
	"testing"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
)

// Of is a port of the loopback address.
func Of(t testing.TB) int {
	t.Helper()
	ports, err := freeport.Find(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}

// Address is one with its address.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Of(t)))
}
