package cluster

import (
	"encoding/json"
	"fmt"
)

// HistoryLine is one line of a timeline history: timeline Timeline ended at
// Switch and the next one began there.
type HistoryLine struct {
	Timeline Timeline
	// Switch is where the timeline was left; WAL of this timeline past it was
	// abandoned.
	Switch LSN
	Reason string
	// Time is an ISO 8601 stamp for people; never compared.
	Time string
	// NewLeader is the member that began the next timeline.
	NewLeader string
}

// History is the promotions of a cluster, oldest first, as the key `history`
// keeps them and as PostgreSQL's NNNNNNNN.history files do.
type History []HistoryLine

// MarshalJSON writes Patroni's compact array form:
// [timeline, lsn, reason, time, new leader].
func (h HistoryLine) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{h.Timeline, uint64(h.Switch), h.Reason, h.Time, h.NewLeader})
}

// UnmarshalJSON reads the array form; time and new leader may be missing, as in
// lines written by old Patroni versions.
func (h *HistoryLine) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("history line: %w", err)
	}
	if len(parts) < 3 {
		return fmt.Errorf("history line has %d fields, want at least timeline, lsn and reason", len(parts))
	}
	fields := []any{&h.Timeline, &h.Switch, &h.Reason, &h.Time, &h.NewLeader}
	for i, part := range parts[:min(len(parts), len(fields))] {
		if err := json.Unmarshal(part, fields[i]); err != nil {
			return fmt.Errorf("history line, field %d: %w", i+1, err)
		}
	}
	return nil
}

// SwitchOf returns where timeline tl was left according to h. Found is false
// when tl is not an ancestor recorded in h.
func (h History) SwitchOf(tl Timeline) (at LSN, found bool) {
	for _, line := range h {
		if line.Timeline == tl {
			return line.Switch, true
		}
	}
	return 0, false
}
