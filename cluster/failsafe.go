package cluster

import (
	"encoding/json"
	"time"
)

// FailsafeAsk is what a holder that cannot reach the store asks of every member it
// knows: not to race for its lease, nor to take part in an election, for TTL from the
// moment the question comes.
type FailsafeAsk struct {
	Name string
	Term Term
	TTL  time.Duration
}

// FailsafeCall is the question as agents send it; who asks is whose signature it has.
type FailsafeCall struct {
	Term Term `json:"term"`
	// TTL is in milliseconds.
	TTL int64 `json:"ttl_ms"`
}

// FailsafeText is the whole body of an answer that accepts, Patroni's as ours.
const FailsafeText = "Accepted"

// FailsafeAnswer is what a member says to that.
type FailsafeAnswer struct {
	Verdict FailsafeVerdict
	// Why is a refusal in words.
	Why string
	// LSN is how far the member has WAL.
	LSN LSN
}

// FailsafeVerdict is the kind of an answer.
type FailsafeVerdict string

// The verdicts. FailsafeNone is the zero value: nobody has answered.
const (
	FailsafeNone     FailsafeVerdict = ""
	FailsafeAccepted FailsafeVerdict = "accepted"
	FailsafeOff      FailsafeVerdict = "off"
	FailsafeInvalid  FailsafeVerdict = "invalid"
	FailsafeForeign  FailsafeVerdict = "foreign"
	FailsafePrimary  FailsafeVerdict = "primary"
	FailsafeConflict FailsafeVerdict = "conflict"
	FailsafeUnkept   FailsafeVerdict = "unkept"
)

// Pledge is an accepted question, as it is kept across restarts: until Until on the
// clock of the boot BootID nothing is done that could end To's tenure.
type Pledge struct {
	To     string        `json:"to"`
	Term   Term          `json:"term"`
	Until  Instant       `json:"until"`
	BootID string        `json:"boot_id"`
	TTL    time.Duration `json:"ttl"`
}

// UntilAfter is until when the pledge binds a process that starts at now: a clock that
// began anew tells nothing of how long ago it was given.
func (p Pledge) UntilAfter(bootID string, now Instant) Instant {
	switch whole := now.Add(p.TTL); {
	case p.TTL == 0:
		return 0
	case p.BootID == "" || p.BootID != bootID: // guard: pledge_outlives_reboot — SAFETY 3, Failsafe
		return whole
	default:
		return min(p.Until, whole)
	}
}

// Tenure is what a worker after this one must know of the term, on disk, to go on by the
// members' promises while the store is away.
type Tenure struct {
	Term Term          `json:"term"`
	TTL  time.Duration `json:"ttl"`
	// Lists are all that the store may have as the list of members.
	Lists []map[string]string `json:"lists"`
	// Config is the dynamic configuration in force.
	Config json.RawMessage `json:"config,omitempty"`
}
