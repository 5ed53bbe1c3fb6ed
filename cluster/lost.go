package cluster

import (
	"fmt"
	"slices"
)

// Lost is what is known of WAL that a member had written, that the cluster's
// history does not contain, and that its rejoin abandoned. It holds counts and
// names, never a row.
type Lost struct {
	// Member is who had it.
	Member string `json:"member"`
	// ID is the folder it is kept in, below `lost` of that member's state directory.
	ID string `json:"id"`
	// Found is when, in RFC 3339; for people, never compared.
	Found string `json:"found,omitempty"`
	// By is how the member rejoined: rewind or clone.
	By string `json:"by"`
	// Source is the member whose history counts, SourceTimeline the timeline it was on.
	Source         string   `json:"source"`
	SourceTimeline Timeline `json:"source_timeline"`
	// Timeline was left at From by the source's history; ours went on to To. All
	// that is written between the two is lost. To is as far as it could be read.
	Timeline Timeline `json:"timeline"`
	From     TextLSN  `json:"from"`
	To       TextLSN  `json:"to"`
	// Transactions is how many were committed in it, FirstCommit and LastCommit when
	// the first and the last of them were, in RFC 3339.
	Transactions int    `json:"transactions"`
	FirstCommit  string `json:"first_commit,omitempty"`
	LastCommit   string `json:"last_commit,omitempty"`
	// Tables are what they changed; catalogs are left out.
	Tables []LostTable `json:"tables"`
	// Files are the names of the WAL files that were kept, Bytes what they take.
	Files []string `json:"files"`
	Bytes int64    `json:"bytes"`
	// Aside is the old data directory, where it was put aside.
	Aside string `json:"aside,omitempty"`
	// Note says what of all this is incomplete, and why.
	Note string `json:"note,omitempty"`
}

// LostTable is one table that lost transactions had changed, and how many rows.
type LostTable struct {
	// Database and Name ("schema.table") are empty where nobody could tell them.
	Database string `json:"database,omitempty"`
	Name     string `json:"name,omitempty"`
	// Relation is tablespace/database/file node, as pg_waldump writes it.
	Relation string `json:"relation"`
	// Created: it was made, or rewritten, in the abandoned WAL itself.
	Created  bool `json:"created,omitempty"`
	Inserted int  `json:"inserted"`
	Updated  int  `json:"updated"`
	Deleted  int  `json:"deleted"`
}

// String is the table's name, else its numbers.
func (t LostTable) String() string {
	switch {
	case t.Created && t.Name == "":
		return t.Relation + " (new)"
	case t.Created:
		return t.Database + ":" + t.Name + " (new)"
	case t.Name == "":
		return t.Relation
	}
	return t.Database + ":" + t.Name
}

// TextLSN is a position that is written as PostgreSQL's tools take it.
type TextLSN LSN

// MarshalText writes "0/3000148"; empty when it is not known.
func (l TextLSN) MarshalText() ([]byte, error) {
	if l == 0 {
		return []byte{}, nil
	}
	return []byte(LSN(l).String()), nil
}

// UnmarshalText reads that form.
func (l *TextLSN) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = 0
		return nil
	}
	parsed, err := ParseLSN(string(text))
	if err != nil {
		return fmt.Errorf("position of lost WAL: %w", err)
	}
	*l = TextLSN(parsed)
	return nil
}

// Reached is one timeline of a history and where it was left; Until is 0 for the
// last one, which was not.
type Reached struct {
	Timeline Timeline
	From     LSN
	Until    LSN
}

// Reaches lists the timelines that lead to tl, oldest first, tl the last.
func (h History) Reaches(tl Timeline) []Reached {
	var list []Reached
	from := LSN(0)
	for _, line := range h {
		if line.Timeline >= tl {
			break
		}
		list = append(list, Reached{line.Timeline, from, line.Switch})
		from = line.Switch
	}
	return append(list, Reached{tl, from, 0})
}

// Abandoned is the part of one history that another does not contain: WAL of ours
// behind the point where the two part, oldest first. Empty when they do not part
// as far as timelines can tell, which says nothing of how far each reaches on the
// last one they share. It is how pg_rewind finds that point.
func Abandoned(ours, theirs []Reached) []Reached {
	shared := 0
	for shared < min(len(ours), len(theirs)) && ours[shared].Timeline == theirs[shared].Timeline && ours[shared].From == theirs[shared].From {
		shared++
	}
	if shared == 0 {
		return nil
	}
	last := shared - 1
	at := theirs[last].Until
	if at == 0 || ours[last].Until != 0 && ours[last].Until <= at {
		// They go on along it, or we left it first: what we have behind it is on
		// timelines that they never had.
		return slices.Clone(ours[shared:])
	}
	rest := slices.Clone(ours[last:])
	rest[0].From = at
	return rest
}
