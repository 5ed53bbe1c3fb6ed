//go:build !unix

package pgrw

import "net"

// disturbed is not known here; pgxpool's ping of idle connections has to do.
func disturbed(net.Conn) bool { return false }
