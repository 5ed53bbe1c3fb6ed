package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// SetSync implements agent.Server. That a walsender goes by its own copy of the names
// for a moment is not modelled: the real server's tests show that it is waited for.
func (s server) SetSync(ctx context.Context, names string) (cluster.LSN, error) {
	if names == "" && !s.n.pg.Waits() { // nothing changes
		return 0, nil
	}
	if err := s.answer(ctx, 5*time.Millisecond+s.n.w.jitter(20*time.Millisecond)); err != nil {
		return 0, err
	}
	need, voters := parseNames(names)
	s.n.pg.SetSync(s.n.w.serverNow(), need, voters...)
	state, err := s.n.pg.Look(s.n.w.serverNow())
	return state.WriteLSN, err
}

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
