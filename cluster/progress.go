package cluster

import "time"

// Progress is a quick look at how far the local server's WAL is, taken while somebody
// asks for lag.
type Progress struct {
	At   Instant
	Mode Mode
	// Write is a primary's flush position.
	Write LSN
	// Receive and Replay are a standby's positions, Latest the primary's end as it last
	// told the receiver.
	Receive, Replay, Latest LSN
	// Streaming: the receiver streams, and has heard from the primary lately.
	Streaming bool
	// Standbys are the replay positions of a primary's standbys by name.
	Standbys map[string]LSN
	// Behind is for how long, at At, the standby has missed WAL that is known to exist; 0
	// when it has replayed all. Known is false when nobody can say.
	Behind time.Duration
	Known  bool
}
