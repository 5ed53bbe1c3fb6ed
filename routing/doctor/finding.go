package doctor

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity is how bad a finding is.
type Severity string

// The severities. An error will fail, or route wrongly, in a failover at the latest; a warning costs time or connections; a
// note is worth knowing.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Finding is one thing that is wrong, and what to do about it.
type Finding struct {
	Severity Severity
	// Check is its stable name, in snake case.
	Check string
	// Where is file:line, or what else it is about.
	Where string
	// What will happen, Fix what to write.
	What, Fix string
}

// Limits are what the files are held against.
type Limits struct {
	// MaxConnections is PostgreSQL's max_connections: of several members the least, since each may become the primary.
	MaxConnections int
	// Reserved are those of it that no pooler may use: superuser_reserved_connections and the agent's own.
	Reserved int
	// Poolers is how many poolers run with each file, one beside each member for example; 0 is one.
	Poolers int
	// Members are those of the cluster, if they are known: a pooler that goes to one of them directly stays there when the
	// primary moves, and a load balancer that lacks one sends nothing to it.
	Members []Member
}

// Member is one of the cluster and where its server is reached. Of one whose agent is down the name of its slot is all that
// is known.
type Member struct{ Name, Host string }

// reaches tells whether the host is a member's.
func (l Limits) reaches(host string) bool {
	return slices.ContainsFunc(l.Members, func(m Member) bool { return m.Host == host })
}

// DefaultLimits are PostgreSQL's default of 100 connections, less three for superusers and seven for the agent.
func DefaultLimits() Limits { return Limits{MaxConnections: 100, Reserved: 10} }

// Usable is how many connections are left to poolers and clients.
func (l Limits) Usable() int { return l.MaxConnections - l.Reserved }

func (l Limits) poolers() int { return max(l.Poolers, 1) }

// findings collects them for one file.
type findings struct {
	file string
	list []located
}

type located struct {
	Finding
	line int
}

func (f *findings) add(severity Severity, check string, line int, fix, format string, args ...any) {
	where := f.file
	if line > 0 {
		where = fmt.Sprintf("%s:%d", f.file, line)
	}
	f.list = append(f.list, located{Finding{severity, check, where, fmt.Sprintf(format, args...), fix}, line})
}

// sorted gives them in the order of the file, what is about all of it last.
func (f *findings) sorted() []Finding {
	slices.SortStableFunc(f.list, func(a, b located) int {
		return cmp.Compare(uint(a.line)-1, uint(b.line)-1) // line 0 becomes the greatest
	})
	out := make([]Finding, 0, len(f.list))
	for _, l := range f.list {
		out = append(out, l.Finding)
	}
	return slices.Compact(out) // defaults hold for several sections
}
