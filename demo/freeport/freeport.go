// Package freeport finds ports for what a demo, or a test, starts.
//
// It promises that nobody listened on a port when it was found, that one process finds no
// port twice, and that the kernel gives none of them to an outgoing connection: a port
// from the range of those may be taken in the moment between its finding and its use, or
// while a server that comes back is down. It does not promise that no other process
// finds the same one in that moment.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range lies below net.ipv4.ip_local_port_range (from 32768 on).
const (
	lowest  = 12000
	highest = 32000
)

var found struct {
	sync.Mutex
	ports map[int]bool
}

// Find returns as many ports of the loopback address as asked for.
func Find(count int) ([]int, error) {
	found.Lock()
	defer found.Unlock()
	if found.ports == nil {
		found.ports = map[int]bool{}
	}
	ports := make([]int, 0, count)
	for range 1000 + count {
		if len(ports) == count {
			return ports, nil
		}
		port := lowest + rand.IntN(highest-lowest)
		if found.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", address(port)) //nolint:noctx // binds only
		if err != nil {
			continue
		}
		_ = l.Close()
		found.ports[port] = true
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("no free port between %d and %d", lowest, highest)
}

// address is one on the loopback interface.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
