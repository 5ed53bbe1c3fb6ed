package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// lostPath is where an agent says what its rejoins abandoned.
const lostPath = "/pgkeeper/lost"

// Lost asks the member at apiURL, or the agent itself when that is empty, for the
// WAL that it had and the cluster has not.
func (a *API) Lost(ctx context.Context, apiURL string) ([]cluster.Lost, error) {
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	address := strings.TrimSuffix(strings.TrimSuffix(cmp.Or(apiURL, a.base), "/"), "/patroni") + lostPath
	got, err := a.call(bounded, http.MethodGet, address, nil)
	switch {
	case err != nil:
		return nil, err
	case got.code == http.StatusNotImplemented || got.code == http.StatusNotFound:
		return nil, fmt.Errorf("GET %s: %d: this agent keeps no lost WAL: is it an older pgkeeper, or Patroni?", address, got.code)
	case got.code != http.StatusOK:
		return nil, fmt.Errorf("GET %s: %d %s", address, got.code, got.text())
	}
	var list []cluster.Lost
	if err := json.Unmarshal(got.body, &list); err != nil {
		return nil, fmt.Errorf("GET %s: the answer cannot be read: is this an agent's REST API?", address)
	}
	return list, nil
}

// LostOf asks one member for what it lost.
type LostOf func(ctx context.Context, m Member) ([]cluster.Lost, error)

// Lost shows what the members' rejoins abandoned: transactions that had been
// committed on a primary and are in no history of the cluster; and what a member
// did that is none at the moment. It is an error when a member did not say.
func (o *Operator) Lost(ctx context.Context, ask LostOf, others []cluster.Lost) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	all, silent := o.askLost(ctx, overview.Members, ask)
	if err := o.Console.Lost(title(overview), append(all, others...)); err != nil {
		return err
	}
	return errors.Join(silent...)
}

func (o *Operator) askLost(ctx context.Context, members []Member, ask LostOf) (all []cluster.Lost, silent []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() {
			list, err := ask(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, list...)
			if err != nil {
				silent = append(silent, fmt.Errorf("%s has not said what it lost: %w", m.Name, err))
			}
		})
	}
	wg.Wait()
	slices.SortFunc(silent, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return all, silent
}

// Lost writes what was lost, newest first, in the console's format: a table, or
// whole for programs.
func (c *Console) Lost(title string, all []cluster.Lost) error {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b cluster.Lost) int {
		return cmp.Or(cmp.Compare(b.Found, a.Found), cmp.Compare(a.Member, b.Member), cmp.Compare(b.ID, a.ID))
	})
	if c.Format == FormatJSON || c.Format == FormatYAML {
		return c.data(append([]cluster.Lost{}, all...))
	}
	t := Table{Title: title, Columns: []Column{
		{Head: "Member", Key: "Member"}, {Head: "Found", Key: "Found"}, {Head: "TL", Key: "TL", Right: true}, {Head: "From", Key: "From", Right: true},
		{Head: "To", Key: "To", Right: true}, {Head: "Transactions", Key: "Transactions", Right: true},
		{Head: "Committed", Key: "Committed"}, {Head: "Tables", Key: "Tables"}, {Head: "WAL kept", Key: "WAL kept", Right: true},
	}}
	for _, l := range all {
		t.Rows = append(t.Rows, lostRow(l))
		if l.Note != "" {
			t.Footer = append(t.Footer, fmt.Sprintf("%s %s: %s", l.Member, l.ID, l.Note))
		}
		if l.Aside != "" {
			t.Footer = append(t.Footer, fmt.Sprintf("%s %s: the old data directory is %s", l.Member, l.ID, l.Aside))
		}
	}
	if len(all) == 0 {
		t.Footer = append(t.Footer, "No rejoin has abandoned a committed transaction")
	}
	return c.Show(t)
}

func lostRow(l cluster.Lost) []Cell {
	transactions := Cell{Text: fmt.Sprint(l.Transactions), Value: l.Transactions}
	switch {
	case l.From == 0: // nobody knows where to count from
		transactions = Cell{Text: "unknown", Value: "unknown", Mark: MarkBad}
	case l.Transactions > 0:
		transactions.Mark = MarkBad
	}
	lsn := func(at cluster.TextLSN) Cell {
		if at == 0 {
			return Cell{}
		}
		return textCell(cluster.LSN(at).String())
	}
	return []Cell{textCell(l.Member), textCell(l.Found), timelineCell(l.Timeline), lsn(l.From), lsn(l.To), transactions,
		textCell(committed(l)), textCell(lostTables(l)), {Text: Bytes(uint64(max(l.Bytes, 0))), Value: l.Bytes, Plain: fmt.Sprint(l.Bytes)}}
}

// committed is the time range of the commits.
func committed(l cluster.Lost) string {
	if l.FirstCommit == l.LastCommit {
		return l.FirstCommit
	}
	return l.FirstCommit + " to " + l.LastCommit
}

// lostTables names tables with the rows changed in them, busiest first: a few, the
// other formats have all.
func lostTables(l cluster.Lost) string {
	const most = 4
	var parts []string
	for i, t := range l.Tables {
		if i == most {
			parts = append(parts, fmt.Sprintf("%d more", len(l.Tables)-most))
			break
		}
		text := []string{t.String()}
		for _, n := range []struct {
			sign  string
			count int
		}{{"+", t.Inserted}, {"~", t.Updated}, {"-", t.Deleted}} {
			if n.count > 0 {
				text = append(text, fmt.Sprintf("%s%d", n.sign, n.count))
			}
		}
		parts = append(parts, strings.Join(text, " "))
	}
	return strings.Join(parts, ", ")
}
