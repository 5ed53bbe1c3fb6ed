package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// SetSync implements agent.Server. That a walsender goes by its own copy of the names
// for a moment is not modelled: the real server's tests show that it is waited for.
func (s server) SetSync(ctx context.Context, names string) (cluster.LSN, error) {
	if names == "" && s.n.pg.Names().Need == 0 { // nothing changes
		return 0, nil
	}
	if err := s.answer(ctx, 5*time.Millisecond+s.n.w.jitter(20*time.Millisecond)); err != nil {
		return 0, err
	}
	need, voters := parseNames(names)
	s.n.pg.SetSync(s.n.w.serverNow(), need, voters...)
	if names != "" {
		if err := s.namesTaken(ctx); err != nil {
			return 0, err
		}
	}
	state, err := s.n.pg.Look(s.n.w.serverNow())
	return state.WriteLSN, err
}

// namesTaken is what package postgres proves of the checkpointer (checkpointer_has_names).
func (s server) namesTaken(ctx context.Context) error {
	for !s.n.pg.HasNames() {
		if err := s.answer(ctx, takenEvery); err != nil {
			return err
		}
	}
	return nil
}

// placeholder is what a standby of a strict cluster waits for, as package postgres has it.
const placeholder = "__pgkeeper_standby__"

// placed are the names that a server gets, or loses, by what it is and the mode; false when
// they stay. A running one may have been told what its promotion rests on.
func (n *Node) placed(standby, running bool, settings *cluster.Settings) (names pgfake.Names, changed bool) {
	has, strict := n.pg.Names(), settings.Synchronous() && settings.SynchronousStrict
	ours := len(has.Standbys) == 1 && has.Standbys[0] == placeholder
	switch {
	case standby && strict:
		return pgfake.Names{Need: 1, Standbys: []string{placeholder}}, has.Need == 0
	case ours, standby && !running && has.Need > 0:
		return pgfake.Names{}, true
	}
	return has, false
}

// takenEvery is between two looks at a checkpointer.
const takenEvery = 20 * time.Millisecond

// parseNames reads a value of synchronous_standby_names as cluster.Rule writes it.
func parseNames(names string) (need int, voters []string) {
	if names == "" {
		return 0, nil
	}
	var word, list string
	if _, err := fmt.Sscanf(names, "%s %d %s", &word, &need, &list); err != nil {
		panic(fmt.Sprintf("synchronous_standby_names = %q", names)) //nolint:forbidigo // a server would refuse it
	}
	for name := range strings.SplitSeq(strings.Trim(list, "()"), ",") {
		voters = append(voters, strings.Trim(name, `"`))
	}
	return need, voters
}
