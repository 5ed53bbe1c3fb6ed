package ctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Peers shows which agents reach which others by calls of their own. ask has one
// member find it out. It is an error when a call did not get through.
func (o *Operator) Peers(ctx context.Context, ask func(context.Context, Member) ([]cluster.Reach, error)) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	t := Table{Title: title(overview), Columns: []Column{
		{Head: "From", Key: "From"}, {Head: "To", Key: "To"}, {Head: "Reached", Key: "Reached"},
		{Head: "ms", Key: "Milliseconds", Right: true}, {Head: "Why not", Key: "Error"},
	}}
	calls, failed := 0, 0
	for i, found := range askAll(ctx, overview.Members, ask) {
		for _, r := range found {
			calls++
			t.Rows = append(t.Rows, reachRow(overview.Members[i].Name, r))
			if !r.OK {
				failed++
			}
		}
	}
	if err := o.Console.Show(t); err != nil || failed == 0 {
		return err
	}
	return fmt.Errorf("%d of %d calls between agents did not get through: check that each member reaches the others' restapi.connect_address, and their certificates", failed, calls)
}

// askAll asks every member at once. One that does not answer reaches nobody.
func askAll(ctx context.Context, members []Member, ask func(context.Context, Member) ([]cluster.Reach, error)) [][]cluster.Reach {
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	found := make([][]cluster.Reach, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			reached, err := ask(ctx, m)
			if err != nil {
				reached = []cluster.Reach{{Member: strings.Join(otherNames(members, m.Name), ","), Error: err.Error()}}
			}
			found[i] = reached
		})
	}
	wg.Wait()
	return found
}

func otherNames(members []Member, name string) []string {
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == name })
}

func reachRow(from string, r cluster.Reach) []Cell {
	reached := Cell{Text: "no", Value: false, Mark: MarkBad}
	took := Cell{}
	if r.OK {
		reached = Cell{Text: "yes", Value: true, Mark: MarkGood}
		took = Cell{Text: fmt.Sprintf("%.1f", r.Millis), Value: r.Millis}
	}
	return []Cell{textCell(from), textCell(r.Member), reached, took, textCell(r.Error)}
}
