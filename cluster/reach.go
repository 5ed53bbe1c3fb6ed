package cluster

// Reach says whether one agent's signed call got through to another and back.
type Reach struct {
	// Member is who was called, URL where.
	Member string `json:"member"`
	URL    string `json:"url"`
	// OK: the other answered, with the cluster's peer key.
	OK bool `json:"ok"`
	// Millis is how long it took, in milliseconds.
	Millis float64 `json:"ms,omitempty"`
	// Error says why not.
	Error string `json:"error,omitempty"`
}

// Pong is the answer of one agent to another's ping.
type Pong struct {
	Name string `json:"name"`
	// Term is the newest the answering agent knows.
	Term Term `json:"term"`
}
