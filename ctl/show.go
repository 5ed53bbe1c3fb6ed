package ctl

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// ListOptions narrow and repeat a list.
type ListOptions struct {
	// Extended shows every optional column, Timestamp when it was looked.
	Extended, Timestamp bool
	// Verbose adds what is seldom asked for.
	Verbose bool
	// Tree shows the topology instead.
	Tree bool
}

// storeDoctor is a cluster that is reached through its store, and can say how that does.
type storeDoctor interface {
	Troubles(ctx context.Context) []cluster.StoreTrouble
}

// List shows the members, and what is wrong with the store: also when that is why
// nothing can be shown.
func (o *Operator) List(ctx context.Context, options ListOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if store, ok := o.Cluster.(storeDoctor); ok {
		overview.StoreTroubles = cluster.MergeTroubles(store.Troubles(ctx), overview.StoreTroubles)
	}
	if err != nil {
		for _, trouble := range overview.StoreTroubles {
			fmt.Fprintln(o.Console.Err, "etcd: "+trouble.String())
		}
		return err
	}
	t := List(overview, options.Extended)
	if options.Tree {
		t = Topology(overview)
	}
	if options.Verbose {
		t = t.Verbose(overview)
	}
	if options.Timestamp {
		t.Footer = append(t.Footer, "Looked at "+o.Clock.Now().Format(time.RFC3339))
	}
	return o.Console.Show(t)
}

// History shows the promotions so far.
func (o *Operator) History(ctx context.Context) error {
	history, err := o.Cluster.History(ctx)
	if err != nil {
		return err
	}
	t := Table{Columns: []Column{
		{Head: "TL", Key: "TL", Right: true}, {Head: "LSN", Key: "LSN", Right: true},
		{Head: "Reason", Key: "Reason"}, {Head: "Timestamp", Key: "Timestamp"}, {Head: "New Leader", Key: "New Leader"},
	}}
	for _, line := range history {
		t.Rows = append(t.Rows, []Cell{
			timelineCell(line.Timeline),
			{Text: line.Switch.String(), Value: uint64(line.Switch), Plain: fmt.Sprint(uint64(line.Switch))},
			textCell(line.Reason), textCell(line.Time), textCell(line.NewLeader),
		})
	}
	return o.Console.Show(t)
}

// ShowConfig prints the dynamic configuration, as YAML unless JSON is asked for.
func (o *Operator) ShowConfig(ctx context.Context) error {
	c, err := o.Cluster.Config(ctx)
	if err != nil {
		return err
	}
	if o.Console.Format == FormatJSON {
		var b bytes.Buffer
		if err := json.Indent(&b, c.Raw, "", "  "); err != nil {
			return fmt.Errorf("read the stored configuration: %w", err)
		}
		o.Console.Say("%s", b.String())
		return nil
	}
	text, err := ToYAML(c.Raw)
	if err != nil {
		return err
	}
	fmt.Fprint(o.Console.Out, text)
	return nil
}

// Target picks one member: by name, or the first with the role.
type Target struct {
	Member string
	// Role is one of leader, primary, standby-leader, replica, standby, any;
	// empty means primary.
	Role string
}

// DSN prints where to connect, as host=... port=....
func (o *Operator) DSN(ctx context.Context, target Target) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	m, err := Pick(overview, target)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(m.Host)
	if err != nil {
		return fmt.Errorf("member %s has told no address: its agent is starting or is not configured with postgresql.connect_address", m.Name)
	}
	o.Console.Say("host=%s port=%s", host, port)
	return nil
}

// Pick finds the target in an overview.
func Pick(o Overview, target Target) (Member, error) {
	if target.Member != "" {
		m, ok := o.Member(target.Member)
		if !ok {
			return m, fmt.Errorf("no member %s in cluster %s: there is %s", target.Member, o.Scope, list(o.Names()))
		}
		if target.Role != "" && !HasRole(m, target.Role) {
			return m, fmt.Errorf("%s is no %s but %s", m.Name, target.Role, m.Role.Title())
		}
		return m, nil
	}
	role := cmp.Or(target.Role, "primary")
	for _, m := range o.Members {
		if HasRole(m, role) {
			return m, nil
		}
	}
	if o.Leader == "" && role != "replica" && role != "standby" {
		return Member{}, fmt.Errorf("cluster %s has no leader: %s", o.Scope, o.NoLeader)
	}
	return Member{}, fmt.Errorf("cluster %s has no member with role %s", o.Scope, role)
}

// Roles are the words HasRole understands.
var Roles = []string{"leader", "primary", "standby-leader", "replica", "standby", "any"}

// HasRole reports whether a member matches a role as patronictl's -r names it.
func HasRole(m Member, role string) bool {
	switch role {
	case "any":
		return true
	case "leader":
		return m.Leads()
	case "primary", "master":
		return m.Role == RoleLeader
	case "standby-leader":
		return m.Role == RoleStandbyLeader
	case "replica", "standby":
		return !m.Leads() && m.Role != RolePrimary
	}
	return false
}

// CheckRole refuses a word that names no role.
func CheckRole(role string) error {
	if role == "master" {
		return nil
	}
	if slices.Contains(Roles, role) {
		return nil
	}
	return fmt.Errorf("unknown role %q: choose %s", role, list(Roles))
}

// Versions shows which agent and server each member runs; statuses come from
// the members' REST API.
func (o *Operator) Versions(ctx context.Context, probe func(context.Context, []Member) map[string]Status) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	statuses := probe(ctx, overview.Members)
	t := Table{Title: title(overview), Columns: []Column{{Head: "Member", Key: "Member"}, {Head: "Agent", Key: "Agent"}, {Head: "PostgreSQL", Key: "PostgreSQL"}}}
	for _, m := range overview.Members {
		s, answered := statuses[m.Name]
		t.Rows = append(t.Rows, []Cell{textCell(m.Name), textCell(agentVersion(s, answered)), textCell(ServerVersion(s.ServerVersion))})
	}
	return o.Console.Show(t)
}

func agentVersion(s Status, answered bool) string {
	switch {
	case !answered:
		return "no answer"
	case s.Keeper.Version != "":
		return "pgkeeper " + s.Keeper.Version
	}
	return "Patroni " + s.Patroni.Version
}

// ServerVersion writes server_version_num as people read it: 150004, 15.4.
func ServerVersion(num int) string {
	switch {
	case num == 0:
		return ""
	case num < 100000:
		return fmt.Sprintf("%d.%d.%d", num/10000, num/100%100, num%100)
	}
	return fmt.Sprintf("%d.%d", num/10000, num%10000)
}

// list joins names for a sentence.
func list(names []string) string {
	switch len(names) {
	case 0:
		return "none"
	case 1:
		return names[0]
	}
	var text strings.Builder
	text.WriteString(names[0])
	for _, name := range names[1 : len(names)-1] {
		text.WriteString(", " + name)
	}
	return text.String() + " and " + names[len(names)-1]
}
