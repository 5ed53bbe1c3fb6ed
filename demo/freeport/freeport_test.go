package freeport

import (
	"net"
	"testing"
)

func TestPortsAreFreeAndDiffer(t *testing.T) {
	ports, err := Find(200)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		if seen[port] || port < lowest || port >= highest {
			t.Errorf("%d, after %v", port, ports)
		}
		seen[port] = true
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			t.Errorf("%d is taken: %v", port, err)
			continue
		}
		_ = l.Close()
	}
	if more, err := Find(1); err != nil || seen[more[0]] {
		t.Errorf("%v was found twice (%v)", more, err)
	}
}
