package ctl

import (
	"context"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
)

// Finding is one thing that is wrong, and what to do about it.
type Finding struct {
	// Severity is error, warning or note.
	Severity string
	// Check is its stable name, in snake case.
	Check string
	// Where is a member, a file and line, or etcd's endpoint.
	Where string
	// What is or will be, Fix what to do.
	What, Fix string
}

// The severities of findings: an error will fail in a failover at the latest, a
// warning costs time, data or room, a note is worth knowing.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
	SeverityNote    = "note"
)

// DoctorOptions say as whom servers are asked, and how agents are.
type DoctorOptions struct {
	// QueryOptions' Username, Password and Database are for the servers; the
	// rest of it is not used.
	QueryOptions
	// Statuses asks every member's agent how it is; who does not answer is absent.
	Statuses func(context.Context, []Member) map[string]Status
}

// Checkup is what an examination of the cluster found.
type Checkup struct {
	Findings []Finding
	// MaxConnections is the least max_connections of the servers that answered;
	// 0 when none did.
	MaxConnections int
	// Members are where the members are reached; of one whose agent is down the name
	// of its slot is all that is known.
	Members []Place
}

// Examine looks at the whole cluster: members, agents, servers, etcd, the dynamic
// configuration. That something could not be looked at is a finding too. It changes
// nothing.
func (o *Operator) Examine(ctx context.Context, options DoctorOptions) Checkup {
	overview, err := o.Cluster.Overview(ctx)
	place := "the agent asked"
	if store, ok := o.Cluster.(storeDoctor); ok {
		place = "etcd"
		overview.StoreTroubles = cluster.MergeTroubles(store.Troubles(ctx), overview.StoreTroubles)
	}
	c := Checkup{Findings: storeFindings(overview)}
	if err != nil {
		c.Findings = append(c.Findings, Finding{SeverityError, "cluster_unreachable", place, firstLine(err), "nothing else of the cluster was looked at: mend this first"})
		return c
	}
	c.Findings = append(c.Findings, overviewFindings(overview)...)
	c.Findings = append(c.Findings, o.dynamicFindings(ctx)...)
	for _, m := range overview.Members {
		if place, err := placeOf(m); err == nil {
			c.Members = append(c.Members, place)
		}
	}
	for _, name := range overview.Left {
		c.Members = append(c.Members, Place{Name: name})
	}
	c.Findings = append(c.Findings, agentFindings(overview, options.Statuses(ctx, overview.Members))...)
	servers, findings := o.askServers(ctx, overview, options.QueryOptions)
	c.Findings = append(append(c.Findings, findings...), serverFindings(overview, servers)...)
	for _, s := range servers {
		if c.MaxConnections == 0 || s.MaxConnections < c.MaxConnections {
			c.MaxConnections = s.MaxConnections
		}
	}
	return c
}

func storeFindings(o Overview) []Finding {
	var found []Finding
	for _, t := range o.StoreTroubles {
		where := "etcd"
		if t.Endpoint != "" {
			where += " " + t.Endpoint
		}
		found = append(found, Finding{SeverityError, "etcd_" + string(t.Kind), where, t.Detail, t.Advice})
	}
	return found
}

// overviewFindings are what one look at the keys shows.
func overviewFindings(o Overview) []Finding {
	var found []Finding
	add := func(severity, check, where, what, fix string) {
		found = append(found, Finding{severity, check, where, what, fix})
	}
	if o.Leader == "" {
		add(SeverityError, "no_leader", o.Scope, "nobody holds the lease: "+o.NoLeader, "pgkeeper explain --cluster says for each member what it waits for")
	}
	if o.Paused {
		add(SeverityWarning, "paused", o.Scope, "the cluster is paused: nothing fails over", "pgkeeper resume "+o.Scope)
	}
	candidates := 0
	for _, m := range o.Members {
		if m.Leads() {
			continue
		}
		if !m.Tags.NoFailover() {
			candidates++
		}
		if m.State != "streaming" {
			add(SeverityError, "not_streaming", m.Name, "the standby is "+orNothing(m.State)+", it does not stream", "pgkeeper explain "+m.Name)
		}
		if m.ReplayLag != nil && *m.ReplayLag > 64<<20 {
			add(SeverityWarning, "lag", m.Name, "replay is "+Bytes(*m.ReplayLag)+" behind", "long queries with hot_standby_feedback off hold replay; a slow disk does; see pgkeeper_replication_lag_bytes")
		}
	}
	if candidates == 0 && len(o.Members) > 0 {
		add(SeverityError, "nobody_to_take_over", o.Scope, "no member besides the leader may become primary", "add a member, or take the tag nofailover off one")
	}
	for _, m := range o.Members {
		if m.PendingRestart {
			add(SeverityWarning, "pending_restart", m.Name, "a changed parameter waits for a restart: "+pendingWords(m.PendingReason), "pgkeeper restart "+o.Scope+" "+m.Name)
		}
	}
	for _, slot := range o.Left {
		add(SeverityWarning, "member_gone", o.Scope+", slot "+slot, "the member it belongs to is gone, and the primary keeps WAL for it: for "+o.SlotsTTL.String()+" (member_slots_ttl) since it went",
			"if it comes back within that it goes on where it was; if it will not: pgkeeper remove "+o.Scope+" "+slot)
	}
	for _, note := range o.Notes {
		add(SeverityWarning, "cluster_note", o.Scope, note, "pgkeeper list shows it beside the members; docs/operations.md")
	}
	return found
}

func orNothing(state string) string {
	if state == "" {
		return "in no known state"
	}
	return state
}

// dynamicFindings are what is wrong with the configuration in the store.
func (o *Operator) dynamicFindings(ctx context.Context) []Finding {
	stored, err := o.Cluster.Config(ctx)
	if err != nil {
		return []Finding{{SeverityWarning, "dynamic_config_unknown", "etcd", firstLine(err), "pgkeeper show-config"}}
	}
	settings, problems := config.Dynamic(stored.Raw)
	found := ConfigFindings(problems, "dynamic_config")
	if warning := settings.TimingWarning(time.Second); warning != "" {
		found = append(found, Finding{SeverityWarning, "timing", "dynamic configuration", warning, "pgkeeper edit-config -s ttl=10"})
	}
	return found
}

// ConfigFindings gives the problems of a configuration as findings.
func ConfigFindings(problems config.Problems, check string) []Finding {
	var found []Finding
	for _, p := range problems {
		severity := SeverityWarning
		if p.Severity == config.Error {
			severity = SeverityError
		}
		where := p.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", p.File, p.Line)
		}
		what := p.Key + ": " + p.Rule
		if p.Value != "" {
			what += fmt.Sprintf(" (value %q)", p.Value)
		}
		fix := p.Fix
		if fix == "" {
			fix = "see docs/configuration.md"
		}
		found = append(found, Finding{severity, check, where, what, fix})
	}
	return found
}

// agentFindings are agents that do not answer, and that say other things than the keys.
func agentFindings(o Overview, statuses map[string]Status) []Finding {
	var found []Finding
	for _, m := range o.Members {
		s, answered := statuses[m.Name]
		switch {
		case !answered:
			found = append(found, Finding{SeverityError, "agent_unreachable", m.Name, "its REST API at " + orNothing(m.APIURL) + " does not answer from here",
				"is its agent running, is restapi.listen open to this machine, and restapi.connect_address the address others reach?"})
		case s.SystemIdentifier != "" && o.SystemID != "" && s.SystemIdentifier != o.SystemID:
			found = append(found, Finding{SeverityError, "foreign_system_identifier", m.Name, "its server is of another cluster: system identifier " + s.SystemIdentifier + ", not " + o.SystemID,
				"a backup of elsewhere, or a second initdb: move its data directory aside, the agent clones anew"})
		}
	}
	return found
}

// FindingsTable shows findings, worst first, each with its fix.
func FindingsTable(findings []Finding) Table {
	t := Table{Columns: []Column{{Head: "Severity", Key: "severity"}, {Head: "Check", Key: "check"}, {Head: "Where", Key: "where"}, {Head: "What", Key: "what"}, {Head: "Fix", Key: "fix"}}}
	for _, severity := range []string{SeverityError, SeverityWarning, SeverityNote} {
		for _, f := range findings {
			if f.Severity != severity {
				continue
			}
			mark := map[string]Mark{SeverityError: MarkBad, SeverityWarning: MarkBusy}[severity]
			t.Rows = append(t.Rows, []Cell{{Text: f.Severity, Value: f.Severity, Mark: mark}, textCell(f.Check), textCell(f.Where), textCell(f.What), textCell(f.Fix)})
		}
	}
	return t
}

// SayFindings writes them for people: a table would be wider than any terminal.
func (c *Console) SayFindings(findings []Finding) {
	for _, row := range FindingsTable(findings).Rows {
		severity := row[0].Text
		if c.Style.Color {
			severity = paint(c.Style, colours[row[0].Mark]).Render(severity)
		}
		c.Say("%s: %s: %s (%s)\n    fix: %s", severity, row[2].Text, row[3].Text, row[1].Text, row[4].Text)
	}
}
