package agent

import (
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// copyProgress tells how far a copy is and how long it will still take.
type copyProgress struct {
	// doing is "cloning from pg1".
	doing string
	now   func() cluster.Instant
	// seen is what was done lately, oldest first: a copy does not go at one speed, and
	// what it does now says more of the rest than what it did at first.
	seen []copied
}

// copied is how much was done at a time.
type copied struct {
	at   cluster.Instant
	done int64
}

const (
	// speedOver is the time that the speed of a copy is taken over.
	speedOver = 20 * time.Second
	// speedFrom is how long a copy must have run before its speed means anything.
	speedFrom = time.Second
)

// say is the progress in words: "cloning from pg1, 430 of 1000 MB (43%), 12 s left".
// total is an estimate, and 0 when there is none.
func (c *copyProgress) say(done, total int64) string {
	const mebi = 1 << 20
	left := c.left(done, total)
	if total <= 0 {
		return fmt.Sprintf("%s, %d MB", c.doing, done/mebi)
	}
	text := fmt.Sprintf("%s, %d of %d MB (%d%%)", c.doing, done/mebi, total/mebi, 100*min(done, total)/total)
	switch {
	case done >= total:
		return text + ", finishing"
	case left > 0:
		return text + ", " + roughly(left) + " left"
	}
	return text
}

// left is how long the rest takes at the speed of late; 0 when that is not known.
func (c *copyProgress) left(done, total int64) time.Duration {
	now := c.now()
	c.seen = append(c.seen, copied{now, done})
	for len(c.seen) > 2 && now.Sub(c.seen[1].at) >= speedOver {
		c.seen = c.seen[1:]
	}
	took, did := now.Sub(c.seen[0].at), done-c.seen[0].done
	if took < speedFrom || did <= 0 || done >= total {
		return 0
	}
	seconds := took.Seconds() / float64(did) * float64(total-done)
	if seconds > float64(longestLeft/time.Second) {
		return longestLeft
	}
	return max(time.Second, time.Duration(seconds*float64(time.Second)))
}

// longestLeft is told for anything longer: such a copy hardly moves.
const longestLeft = 99 * time.Hour

// roughly is a time in one unit, or two where one would be coarse: it is an estimate.
func roughly(d time.Duration) string {
	switch s := int64(d.Round(time.Second) / time.Second); {
	case s < 100:
		return fmt.Sprintf("%d s", s)
	case s < 100*60:
		return fmt.Sprintf("%d min", (s+30)/60)
	default:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
}
