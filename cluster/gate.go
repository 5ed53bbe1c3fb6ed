package cluster

import "strings"

// GatePrefix begins the application_name of every gate: the client that confirms a
// server's commits while its node holds the lease.
const GatePrefix = "pgkeeper_gate_"

// IsGate reports whether an application_name is a gate's, which is no member.
func IsGate(name string) bool { return strings.HasPrefix(name, GatePrefix) }

// GateState is how a primary's commits wait for its gate.
type GateState string

// The states of a gate. The zero value says that commits wait for none.
const (
	GateOff       GateState = ""
	GateConnected GateState = "connected"
	GateMissing   GateState = "not connected"
)
