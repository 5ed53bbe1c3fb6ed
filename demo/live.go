package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// live shows the cluster until ctx ends: on a terminal a view that is redrawn in
// place every second, else a list whenever something changed.
func (s *stage) live(ctx context.Context) {
	fmt.Fprintf(s.out, "\nThe cluster stays up. Kill what you like; Ctrl-C ends the demo.\n")
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	shown, height := "", 0
	for {
		revived := s.revive()
		text, essence := s.look(ctx)
		text, essence = revived+text, revived+essence
		switch {
		case s.terminal:
			fmt.Fprint(s.out, up(height)+text)
			height = strings.Count(text, "\n")
		case essence != shown:
			fmt.Fprintf(s.out, "\n%s\n%s", time.Now().Format(time.TimeOnly), text)
		}
		shown = essence
		select {
		case <-ctx.Done():
			fmt.Fprintln(s.out, "\nStopping.")
			return
		case <-ticker.C:
		}
	}
}

// reviveAfter is how long a node whose agent was killed stays away: long enough
// to see somebody else take over.
const reviveAfter = 10 * time.Second

// revive starts agents again that somebody has killed, as systemd would, and says
// so.
func (s *stage) revive() string {
	var b strings.Builder
	for _, n := range s.nodes {
		switch {
		case n.running():
			n.missed = time.Time{}
		case n.missed.IsZero():
			n.missed = time.Now()
			fmt.Fprintf(&b, "The agent of %s has ended; it is started again after %s.\n", n.name, reviveAfter)
		case time.Since(n.missed) > reviveAfter:
			if err := n.start(s.Program, s.environment(), s.life); err != nil {
				fmt.Fprintln(&b, err)
				continue
			}
			fmt.Fprintf(&b, "The agent of %s is started again.\n", n.name)
		}
	}
	return b.String()
}

// up moves the cursor back over what was drawn, and clears from there.
func up(lines int) string {
	if lines == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", lines)
}

// look is the view, and its essence: what makes another list worth printing.
// Positions move with every background write, roles and states do not.
func (s *stage) look(ctx context.Context) (text, essence string) {
	overview, err := s.overview(ctx)
	if err != nil {
		return "no agent answers\n", "none"
	}
	var b strings.Builder
	for _, m := range overview.Members {
		fmt.Fprintf(&b, "%s %s %s %d;", m.Name, m.Role, m.State, m.Timeline)
	}
	return ctl.List(overview, false).Pretty(s.Style), b.String() + overview.NoLeader
}
