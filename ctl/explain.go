package ctl

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// explainPath is where an agent explains itself.
const explainPath = "/pgkeeper/explain"

// Explanation asks the agent whose api_url this is why it does what it does; an
// empty one means the agent that a was made for.
func (a *API) Explanation(ctx context.Context, apiURL string) (cluster.Explanation, error) {
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var e cluster.Explanation
	address := strings.TrimSuffix(strings.TrimSuffix(cmp.Or(apiURL, a.base), "/"), "/patroni") + explainPath
	got, err := a.call(bounded, http.MethodGet, address, nil)
	switch {
	case err != nil:
		return e, err
	case got.code == http.StatusNotImplemented || got.code == http.StatusNotFound:
		return e, fmt.Errorf("GET %s: %d: this agent cannot explain itself: is it an older pgkeeper, or Patroni?", address, got.code)
	case got.code != http.StatusOK:
		return e, fmt.Errorf("GET %s: %d %s", address, got.code, got.text())
	}
	if err := json.Unmarshal(got.body, &e); err != nil || e.Reason == "" {
		return e, fmt.Errorf("GET %s: the answer cannot be read: is this an agent's REST API?", address)
	}
	return e, nil
}

// Explain writes one explanation in the console's format.
func (c *Console) Explain(e cluster.Explanation) error {
	switch c.Format {
	case FormatJSON, FormatYAML:
		return c.data(e)
	case FormatTSV:
		c.Say("%s\t%s\t%s", e.Member, e.Reason, e.Verdict)
		return nil
	}
	_, err := io.WriteString(c.Out, explained(e))
	return err
}

// data writes a value as JSON, or as the same in YAML.
func (c *Console) data(value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err == nil && c.Format == FormatYAML {
		raw, err = yaml.JSONToYAML(raw)
	}
	if err != nil {
		return fmt.Errorf("write the answer as %s: %w", c.Format, err)
	}
	c.Say("%s", bytes.TrimRight(raw, "\n"))
	return nil
}

// explained is an explanation as people read it.
func explained(e cluster.Explanation) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s: %s", e.Member, e.Verdict)
	if e.Source != "" {
		line("  (from %s)", e.Source)
	} else if e.AgeMS > staleAfter.Milliseconds() {
		line("  (the agent last looked %s ago: it may hang)", span(e.AgeMS))
	}
	line("\nReason: %s, for %s", cmp.Or(string(e.Reason), "unknown"), span(e.SinceMS))
	line("  %s", e.Why)
	if e.Next != "" {
		line("  %s", e.Next)
	}
	if e.Detail != "" {
		line("  Detail: %s", e.Detail)
	}
	if len(e.Observed) > 0 {
		line("\nIt observes:")
		for _, f := range e.Observed {
			line("  %-10s %s", f.What, f.Value)
		}
	}
	line("\nIt decided: %s", cmp.Or(strings.Join(e.Decided, ", "), "nothing is to be done now"))
	lacking := func(title string, lacks []string) {
		if len(lacks) > 0 {
			line("\n%s", title)
		}
		for _, l := range lacks {
			line("  - %s", l)
		}
	}
	lacking("For it to be promoted, this would have to change:", e.ToPromote)
	lacking("For it to follow, this would have to change:", e.ToFollow)
	return b.String()
}

// staleAfter is how old an answer may be without a word; a quiet standby's loop
// steps every loop_wait, at most every few seconds.
const staleAfter = 30 * time.Second

// span is a time in milliseconds as people say it.
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// ExplainOptions are what explaining a cluster uses beside the cluster itself.
type ExplainOptions struct {
	// Ask asks one agent, by its api_url.
	Ask func(ctx context.Context, apiURL string) (cluster.Explanation, error)
	// Words explains a reason, for agents that do not answer.
	Words func(cluster.Reason) string
}

// ExplainMember explains one member: by its agent, or when that does not answer
// by what its key in the store says.
func (o *Operator) ExplainMember(ctx context.Context, member string, options ExplainOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	m, ok := overview.Member(member)
	if !ok {
		return fmt.Errorf("%w: no member %s in cluster %s: there is %s; a member whose agent is down for longer than ttl is not shown: run pgkeeper explain on its own machine, which reads its recording",
			ErrRefused, member, overview.Scope, list(overview.Names()))
	}
	return o.Console.Explain(options.explain(ctx, overview.Scope, m))
}

// ExplainCluster says in one line each why there is or is no primary.
func (o *Operator) ExplainCluster(ctx context.Context, options ExplainOptions) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	all := options.explainAll(ctx, overview)
	why := whyPrimary(overview, all)
	if o.Console.Format != FormatPretty && o.Console.Format != "" {
		return o.Console.Show(explainTable(all, why))
	}
	o.Console.Say("%s: %s", overview.Scope, why)
	width := 0
	for _, e := range all {
		width = max(width, len(e.Member))
	}
	for _, e := range all {
		since := ", for " + span(e.SinceMS)
		if e.Source != "" {
			since = ""
		}
		o.Console.Say("  %-*s  %s  [%s%s]", width, e.Member, e.Verdict, e.Reason, since)
	}
	for _, note := range overview.Notes {
		o.Console.Say("  %s", note)
	}
	return nil
}

func explainTable(all []cluster.Explanation, why string) Table {
	t := Table{Footer: []string{why}, Columns: []Column{{Key: "Member"}, {Key: "Reason"}, {Key: "Since"}, {Key: "Verdict"}}}
	for _, e := range all {
		t.Rows = append(t.Rows, []Cell{textCell(e.Member), textCell(string(e.Reason)), {Text: span(e.SinceMS), Value: e.SinceMS}, textCell(e.Verdict)})
	}
	return t
}

// explainAll asks all members at once, each for no longer than one would take.
func (p ExplainOptions) explainAll(ctx context.Context, overview Overview) []cluster.Explanation {
	all := make([]cluster.Explanation, len(overview.Members))
	var wg sync.WaitGroup
	for i, m := range overview.Members {
		wg.Go(func() { all[i] = p.explain(ctx, overview.Scope, m) })
	}
	wg.Wait()
	return all
}

// explain asks the member's agent, or makes do with its key.
func (p ExplainOptions) explain(ctx context.Context, scope string, m Member) cluster.Explanation {
	var err error
	if m.APIURL != "" {
		var e cluster.Explanation
		if e, err = p.Ask(ctx, m.APIURL); err == nil {
			return e
		}
	}
	said := "says " + m.State
	if m.Reason != "" {
		why, _, _ := strings.Cut(p.Words(m.Reason), ". ")
		said = "said last: " + strings.TrimSuffix(why, ".")
	}
	e := cluster.Explanation{Scope: scope, Member: m.Name, Reason: m.Reason, Why: "The agent does not answer.", Verdict: "its agent does not answer; it " + said,
		Next: "Look whether the agent runs, and at its log; pgkeeper explain on its own machine reads its recording.", Source: "its key in the store"}
	if err != nil {
		e.Detail = err.Error()
	}
	return e
}

// whyPrimary is the cluster in one line.
func whyPrimary(overview Overview, all []cluster.Explanation) string {
	if overview.Leader == "" {
		return "no primary: " + overview.NoLeader
	}
	for _, e := range all {
		if e.Member == overview.Leader {
			return primaryBy(e, all)
		}
	}
	return fmt.Sprintf("%s holds the lease, but its agent has no key in the store: it died a moment ago, and the lease runs out within ttl", overview.Leader)
}

func primaryBy(e cluster.Explanation, all []cluster.Explanation) string {
	switch {
	case strings.HasPrefix(e.Verdict, "primary"):
		return e.Member + " is the primary"
	case e.Source != "":
		return e.Member + " holds the lease, and its agent does not answer: if it died, the lease runs out within ttl" + seenBy(all)
	}
	return fmt.Sprintf("no primary (the leader key names %s): %s", e.Member, e.Verdict)
}

// seenBy is how a member that answers sees the lease; empty when none does.
func seenBy(all []cluster.Explanation) string {
	for _, e := range all {
		for _, f := range e.Observed {
			if f.What == "lease" {
				return "; " + e.Member + " sees it " + f.Value
			}
		}
	}
	return ""
}
