package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// SyncCommit is what is known of commits that do not wait for whom they should: those
// that are configured not to, and waits that were cancelled. Both may be unknown. Once
// made it is not changed.
type SyncCommit struct {
	// Weakened are the settings by which commits wait for nobody; nil when nobody has
	// looked yet. What single sessions, transactions or functions set cannot be seen
	// from outside.
	Weakened []Weakening `json:"weakened"`
	// WeakenedUnknown says why the newest look failed; Weakened is the last good one.
	WeakenedUnknown string `json:"weakened_unknown,omitempty"`
	// CancelledWaits is how many waits the server's log says were cancelled since the
	// agent began to read it; nil when it never could.
	CancelledWaits *int64 `json:"cancelled_waits"`
	// CancelledUnknown says why they are not counted now; CancelledWaits is then only
	// what was counted before.
	CancelledUnknown string `json:"cancelled_waits_unknown,omitempty"`
}

// Weakening is one setting of synchronous_commit to local or off: of the server, of a
// role, of a database, or of a role in a database.
type Weakening struct {
	Role     string `json:"role,omitempty"`
	Database string `json:"database,omitempty"`
	Value    string `json:"value"`
}

// String names whose setting it is.
func (w Weakening) String() string {
	switch {
	case w.Role != "" && w.Database != "":
		return fmt.Sprintf("role %s in database %s (%s)", w.Role, w.Database, w.Value)
	case w.Role != "":
		return fmt.Sprintf("role %s (%s)", w.Role, w.Value)
	case w.Database != "":
		return fmt.Sprintf("database %s (%s)", w.Database, w.Value)
	}
	return fmt.Sprintf("the whole server (%s)", w.Value)
}

// SyncCommitWeak reads a value of synchronous_commit: whether commits under it wait for
// no standby, and its plain name.
func SyncCommitWeak(value string) (name string, weak bool) {
	switch strings.ToLower(value) {
	case "off", "false", "no", "0":
		return "off", true
	case "local":
		return "local", true
	}
	return "", false
}

// Equal compares all that is known.
func (s *SyncCommit) Equal(other *SyncCommit) bool {
	if s == nil || other == nil {
		return s == other
	}
	return slices.Equal(s.Weakened, other.Weakened) && (s.Weakened == nil) == (other.Weakened == nil) && s.WeakenedUnknown == other.WeakenedUnknown &&
		same(s.CancelledWaits, other.CancelledWaits) && s.CancelledUnknown == other.CancelledUnknown
}

// WeakenedWords is who is weakened, or why nobody knows.
func (s *SyncCommit) WeakenedWords() string {
	var parts []string
	for _, w := range s.Weakened {
		parts = append(parts, w.String())
	}
	switch words := strings.Join(parts, ", "); {
	case s.Weakened == nil && s.WeakenedUnknown == "":
		return "unknown: nobody has looked yet"
	case s.Weakened == nil:
		return "unknown: " + s.WeakenedUnknown
	case s.WeakenedUnknown != "":
		return strings.TrimPrefix(words+"; ", "; ") + "unknown now: " + s.WeakenedUnknown
	case words == "":
		return "none"
	default:
		return words
	}
}

// CancelledWords is how many, or why nobody knows.
func (s *SyncCommit) CancelledWords() string {
	switch {
	case s.CancelledWaits == nil && s.CancelledUnknown == "":
		return "unknown: nobody has looked yet"
	case s.CancelledWaits == nil:
		return "unknown: " + s.CancelledUnknown
	case s.CancelledUnknown != "":
		return fmt.Sprintf("%d, and unknown now: %s", *s.CancelledWaits, s.CancelledUnknown)
	}
	return fmt.Sprint(*s.CancelledWaits)
}

// countedAs is s with the count of newer, where both have one.
func (s *SyncCommit) countedAs(newer *SyncCommit) *SyncCommit {
	if s == nil || newer == nil || s.CancelledWaits == nil || newer.CancelledWaits == nil {
		return s
	}
	counted := *s
	counted.CancelledWaits = newer.CancelledWaits
	return &counted
}
