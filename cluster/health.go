package cluster

import "time"

// Ailment is what keeps a server from serving although it runs; empty for nothing.
// The values travel in member keys.
type Ailment string

// The ailments.
const (
	// AilmentHung: a new connection, or a query, gets no answer.
	AilmentHung Ailment = "hung"
	// AilmentStalled: a write or its fsync does not come back.
	AilmentStalled Ailment = "disk_stalled"
	// AilmentFull: there is no room.
	AilmentFull Ailment = "disk_full"
	// AilmentReadOnly: the file system takes no writes.
	AilmentReadOnly Ailment = "disk_read_only"
	// AilmentBroken: the disk answers with errors.
	AilmentBroken Ailment = "disk_broken"
	// AilmentGone: the data directory is not there any more.
	AilmentGone Ailment = "data_gone"
	// AilmentStart: the server takes longer to start than primary_start_timeout.
	AilmentStart Ailment = "start_too_long"
	// AilmentTimeline: it writes on a timeline that was not reserved for its term.
	AilmentTimeline Ailment = "foreign_timeline"
)

// words are the ailments for people.
var words = map[Ailment]string{
	AilmentHung: "the server gives no answer", AilmentStalled: "the disk is stalled", AilmentFull: "the disk is full",
	AilmentReadOnly: "the disk is read-only", AilmentBroken: "the disk fails", AilmentGone: "the data directory is gone",
	AilmentStart: "the start takes too long", AilmentTimeline: "the server writes on a timeline that was not reserved for it",
}

// String is the ailment in words.
func (a Ailment) String() string {
	if w, known := words[a]; known || a == "" {
		return w
	}
	return string(a)
}

// MayServe reports whether a server with this ailment could be promoted and be of some
// use: a full disk, or one that was sick a moment ago, is better than no primary.
func (a Ailment) MayServe() bool {
	switch a {
	case AilmentStalled, AilmentReadOnly, AilmentBroken, AilmentGone:
		return false
	}
	return true
}

// CheckName names what a probe tries, over and over.
type CheckName string

// The checks.
const (
	CheckAccept CheckName = "accept" // opens a connection, and asks a query
	CheckData   CheckName = "data"   // writes and syncs in the data volume
	CheckWAL    CheckName = "wal"    // the same in the WAL's, where it has one of its own
	// CheckTablespace does it in each volume that only tablespaces are on.
	CheckTablespace CheckName = "tablespace"
)

// Check is how one of them goes. The times are those of the probe, on this machine's
// CLOCK_BOOTTIME: Since is since when nothing is known to have succeeded, At when the
// last failure was known.
type Check struct {
	Ailment   Ailment
	Detail    string
	Since, At Instant
	Failures  int
}

// Health is what the probes beside this node's server say. The zero value says nothing,
// which is not the same as that all is well.
type Health struct{ Accept, Data, WAL, Tablespace Check }

// Of is the check of that name; nil for one that nobody knows.
func (h *Health) Of(name CheckName) *Check {
	switch name {
	case CheckAccept:
		return &h.Accept
	case CheckData:
		return &h.Data
	case CheckWAL:
		return &h.WAL
	case CheckTablespace:
		return &h.Tablespace
	}
	return nil
}

// Each are the checks, those first whose ailments say more: a disk that hangs makes a
// server hang, and not the other way round.
func (h *Health) Each() [4]*Check { return [4]*Check{&h.Data, &h.WAL, &h.Tablespace, &h.Accept} }

// Well reports whether nothing of it says that anything is wrong.
func (h *Health) Well() bool {
	return h.Data.Ailment == "" && h.WAL.Ailment == "" && h.Tablespace.Ailment == "" && h.Accept.Ailment == ""
}

// Note folds in how one try ended that began at begun and was known at at; an empty
// ailment is a success. Of a failure begun is since when nothing has succeeded; one that
// began before the last success says nothing.
func (c *Check) Note(begun, at Instant, a Ailment, detail string) {
	switch {
	case at < c.At:
	case a == "":
		*c = Check{At: at}
	case c.Ailment == "" && begun < c.At:
	case c.Ailment == "":
		*c = Check{Ailment: a, Detail: detail, Since: begun, At: at, Failures: 1}
	default:
		c.Ailment, c.Detail, c.At = a, detail, at
		c.Failures++
	}
}

// leastFailures is how many tries in a row must fail: one slow answer is none.
const leastFailures = 2

// Ailing is what the check has found to be wrong for as long as patience, without a
// success between, by what it still said a moment ago; empty for nothing. Old words
// count for nothing: a worker that slept hears them late.
func (c *Check) Ailing(now Instant, patience time.Duration) Ailment {
	brief := c.Failures < leastFailures || c.At.Sub(c.Since) < patience
	if brief || now.Sub(c.At) > patience { // guard: sick_hysteresis — L1: one slow answer, or an old one, is no failover
		return ""
	}
	return c.Ailment
}
