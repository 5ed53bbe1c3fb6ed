package etcd

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestAKeepaliveWhoseTimeIsOverOpensNoStream: its time may run out at any moment on
// its way, and one that waited on for a connection would hold up every later one, with
// nobody left to end it.
func TestAKeepaliveWhoseTimeIsOverOpensNoStream(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a member that accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{mute.Addr().String()}, Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	k := &keeper{endpoint: mute.Addr().String(), turn: make(chan struct{}, 1)}
	over, end := context.WithCancel(t.Context())
	end()
	closed, closing := context.WithTimeout(t.Context(), 10*time.Second)
	defer closing()
	if _, err := k.open(over, closed, client); err == nil || closed.Err() != nil || k.stream != nil {
		t.Errorf("got error %v, after %v, and stream %v", err, closed.Err(), k.stream)
	}
	if err := k.close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
