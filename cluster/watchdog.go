package cluster

// WatchdogState is how a member's kernel watchdog does.
type WatchdogState string

// The states of a watchdog.
const (
	WatchdogOff      WatchdogState = ""
	WatchdogArmed    WatchdogState = "armed"
	WatchdogReady    WatchdogState = "ready"             // it can be used, and there is nothing to guard
	WatchdogUnusable WatchdogState = "unusable"          // the member goes on without it
	WatchdogMissing  WatchdogState = "required, missing" // the member may not become the primary
)

// Watchdog is what an agent knows of its watchdog.
type Watchdog struct {
	State  WatchdogState `json:"state"`
	Device string        `json:"device,omitempty"`
	// Timeout is the device's, in seconds, while it is armed.
	Timeout int `json:"timeout,omitempty"`
	// Error says why it cannot be used.
	Error string `json:"error,omitempty"`
}

// NoWatchdog reports whether the member lacks the watchdog it requires.
func (m *Member) NoWatchdog() bool { return m.Keeper != nil && m.Keeper.Watchdog == WatchdogMissing }
