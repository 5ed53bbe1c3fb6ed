package ctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// optional columns appear when at least one member has something to say there.
type optional struct {
	head string
	cell func(Member) Cell
}

var optionals = []optional{
	{"Pending restart", func(m Member) Cell {
		if !m.PendingRestart {
			return Cell{}
		}
		return Cell{Text: "*", Value: true, Mark: MarkBusy}
	}},
	{"Pending restart reason", func(m Member) Cell {
		if len(m.PendingReason) == 0 {
			return Cell{}
		}
		return Cell{Text: pendingWords(m.PendingReason), Value: m.PendingReason}
	}},
	{"Scheduled restart", func(m Member) Cell { return textCell(m.ScheduledRestart) }},
	{"Tags", func(m Member) Cell {
		if len(m.Tags) == 0 {
			return Cell{}
		}
		return Cell{Text: tagWords(m.Tags), Value: m.Tags}
	}},
	{"Progress", func(m Member) Cell { return textCell(m.Progress) }},
}

// List is the overview as a table; extended shows every optional column.
func List(o Overview, extended bool) Table { return listOf(o, extended, o.Members, nil) }

// Verbose adds to a list what is worth knowing and seldom asked for.
func (t Table) Verbose(o Overview) Table {
	var dogs, poolers []string
	for _, m := range o.Members {
		if m.Watchdog != cluster.WatchdogOff {
			dogs = append(dogs, m.Name+": "+string(m.Watchdog))
		}
		if m.Pooler != "" {
			poolers = append(poolers, m.Name+": "+string(m.Pooler))
		}
	}
	if len(dogs) > 0 {
		t.Footer = append(t.Footer, "Watchdog of "+strings.Join(dogs, "; "))
	}
	if len(poolers) > 0 {
		t.Footer = append(t.Footer, "Pooler of "+strings.Join(poolers, "; "))
	}
	if o.SyncCommit == nil {
		t.Footer = append(t.Footer, "synchronous_commit weakened for: unknown: no primary says", "Synchronous waits cancelled: unknown: no primary says")
		return t
	}
	t.Footer = append(t.Footer, "synchronous_commit weakened for: "+o.SyncCommit.WeakenedWords(), "Synchronous waits cancelled: "+o.SyncCommit.CancelledWords())
	return t.everywhere("Sync commit", "", o.SyncCommit)
}

// everywhere adds a column that programs see, with the same value in each row.
func (t Table) everywhere(key, text string, value any) Table {
	t.Columns = append(t.Columns, Column{Head: key, Key: key, OnlyData: true})
	for i := range t.Rows {
		t.Rows[i] = append(t.Rows[i], Cell{Text: text, Value: value})
	}
	return t
}

// troubled adds what is wrong with etcd itself: a line each for people.
func (t Table) troubled(o Overview) Table {
	if len(o.StoreTroubles) == 0 {
		return t
	}
	kinds := make([]string, 0, len(o.StoreTroubles))
	for _, trouble := range o.StoreTroubles {
		t.Footer = append(t.Footer, "etcd: "+trouble.String())
		kinds = append(kinds, string(trouble.Kind))
	}
	return t.everywhere("etcd troubles", strings.Join(kinds, ", "), o.StoreTroubles)
}

// Topology is the overview as a tree of who replicates from whom.
func Topology(o Overview) Table {
	order, depth := tree(o)
	return listOf(o, false, order, depth)
}

func listOf(o Overview, extended bool, members []Member, depth map[string]int) Table {
	t := Table{
		Title: title(o), Footer: footer(o),
		Columns: []Column{
			{Head: "Cluster", Key: "Cluster", OnlyData: true},
			{Head: "Member", Key: "Member"}, {Head: "Host", Key: "Host"}, {Head: "Role", Key: "Role"},
			{Head: "State", Key: "State"}, {Head: "TL", Key: "TL", Right: true},
			{Head: "Receive LSN", Key: "Receive LSN", Right: true}, {Head: "Lag", Key: "Receive Lag", Right: true},
			{Head: "Replay LSN", Key: "Replay LSN", Right: true}, {Head: "Lag", Key: "Replay Lag", Right: true},
		},
	}
	extra := wanted(extended, members)
	for _, e := range extra {
		t.Columns = append(t.Columns, Column{Head: e.head, Key: e.head})
	}
	for _, m := range members {
		row := []Cell{textCell(o.Scope), nameCell(m.Name, depth[m.Name]), textCell(m.Host), roleCell(m.Role), stateCell(m.State), timelineCell(m.Timeline)}
		row = append(row, positionCells(m)...)
		for _, e := range extra {
			row = append(row, e.cell(m))
		}
		t.Rows = append(t.Rows, row)
	}
	return t.troubled(o)
}

func wanted(extended bool, members []Member) []optional {
	var extra []optional
	for _, e := range optionals {
		if extended || slices.ContainsFunc(members, func(m Member) bool { return e.cell(m).Value != nil }) {
			extra = append(extra, e)
		}
	}
	return extra
}

func title(o Overview) string {
	switch {
	case o.SystemID != "":
		return fmt.Sprintf("Cluster: %s (%s)", o.Scope, o.SystemID)
	default:
		return fmt.Sprintf("Cluster: %s (uninitialized)", o.Scope)
	}
}

func footer(o Overview) []string {
	var lines []string
	if o.NoLeader != "" {
		lines = append(lines, "No leader: "+o.NoLeader)
	}
	if o.Paused {
		lines = append(lines, "Maintenance mode: on")
	}
	if o.Config != "" {
		lines = append(lines, "Configuration: not in force as it is stored: "+o.Config+" (the members keep what they had of it; pgkeeper edit-config)")
	}
	if o.Gate != "" {
		lines = append(lines, "Commit gate: "+o.Gate)
	}
	if o.Switchover != "" {
		lines = append(lines, "Switchover "+o.Switchover)
	}
	if s := o.Scheduled; s != nil {
		line := "Switchover scheduled at: " + s.At
		if s.From != "" {
			line += ", from: " + s.From
		}
		if s.To != "" {
			line += ", to: " + s.To
		}
		lines = append(lines, line)
	}
	for _, note := range o.Notes {
		lines = append(lines, "Note: "+note)
	}
	return lines
}

func textCell(s string) Cell {
	if s == "" {
		return Cell{}
	}
	return Cell{Text: s, Value: s}
}

func nameCell(name string, depth int) Cell {
	if depth == 0 {
		return Cell{Text: name, Value: name}
	}
	text := strings.Repeat("  ", depth-1) + "+ " + name
	return Cell{Text: text, Value: text}
}

func roleCell(r MemberRole) Cell {
	c := textCell(r.Title())
	switch r {
	case RoleLeader, RoleStandbyLeader:
		c.Mark = MarkGood
	case RolePrimary:
		c.Mark = MarkBusy
	}
	return c
}

func stateCell(state string) Cell {
	c := textCell(state)
	switch state {
	case "running", "streaming":
	case string(cluster.StateCrashed), string(cluster.StateStartFailed), string(cluster.StateStopFailed), string(cluster.StateInitFailed):
		c.Mark = MarkBad
	default:
		c.Mark = MarkBusy
	}
	return c
}

func timelineCell(tl cluster.Timeline) Cell {
	if tl == 0 {
		return Cell{}
	}
	return Cell{Text: fmt.Sprint(tl), Value: uint32(tl)}
}

// positionCells are receive LSN, lag, replay LSN and lag; empty for a leader.
func positionCells(m Member) []Cell {
	if m.Leads() || m.Role == RolePrimary {
		return make([]Cell, 4)
	}
	return []Cell{lsnCell(m.ReceiveLSN), lagCell(m.ReceiveLag), lsnCell(m.ReplayLSN), lagCell(m.ReplayLag)}
}

func lsnCell(l cluster.LSN) Cell {
	if !l.Known() {
		return Cell{Text: "unknown", Value: "unknown"}
	}
	return textCell(l.String())
}

func lagCell(lag *uint64) Cell {
	if lag == nil {
		return Cell{Text: "unknown", Value: "unknown"}
	}
	c := Cell{Text: Bytes(*lag), Value: *lag, Plain: fmt.Sprint(*lag)}
	if *lag > 16<<20 {
		c.Mark = MarkBusy
	}
	return c
}

// Bytes writes an amount the way PostgreSQL's units read: 0, 812 kB, 1.2 GB.
func Bytes(n uint64) string {
	if n < 10<<10 {
		return fmt.Sprint(n)
	}
	value, unit := float64(n)/1024, "kB"
	for _, next := range []string{"MB", "GB", "TB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if value >= 10 {
		return fmt.Sprintf("%.0f %s", value, unit)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

func pendingWords(reasons map[string]cluster.PendingReason) string {
	parts := make([]string, 0, len(reasons))
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s: %s->%s", name, reasons[name].Old, reasons[name].New))
	}
	return strings.Join(parts, ", ")
}

func tagWords(tags cluster.Tags) string {
	parts := make([]string, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		parts = append(parts, fmt.Sprintf("%s: %v", key, tags[key]))
	}
	return strings.Join(parts, ", ")
}

// tree orders members as a replication tree: the leader first, under it those
// that follow it, under a cascading source its own. A member whose source is
// unknown or part of a ring follows the leader.
func tree(o Overview) (order []Member, depth map[string]int) {
	children := map[string][]Member{}
	for _, m := range o.Members {
		children[parent(o, m)] = append(children[parent(o, m)], m)
	}
	depth = map[string]int{}
	var walk func(of string, level int)
	walk = func(of string, level int) {
		for _, m := range children[of] {
			if _, seen := depth[m.Name]; seen {
				continue
			}
			depth[m.Name] = level
			order = append(order, m)
			walk(m.Name, level+1)
		}
	}
	walk("", 0)
	for _, m := range o.Members { // a ring of replicatefrom hangs on nobody
		if _, seen := depth[m.Name]; !seen {
			depth[m.Name] = 1
			order = append(order, m)
			walk(m.Name, 2)
		}
	}
	return order, depth
}

func parent(o Overview, m Member) string {
	if m.Leads() || o.Leader == "" {
		return ""
	}
	if from, ok := m.Tags["replicatefrom"].(string); ok && from != m.Name {
		if _, known := o.Member(from); known {
			return from
		}
	}
	return o.Leader
}
