package sim

import (
	"math/rand/v2"
	"time"

	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// occupied is a checkpointer in the middle of a checkpoint, in which it does not read whom
// commits wait for.
const occupied = "long checkpoint"

func init() { deeds[occupied] = onServer((*pgfake.Server).Occupy) }

// checkpointing has some checkpointers of a quarter of the schedules take long.
func checkpointing(seed uint64, nodes, index int) (faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0xc4e7))
	if rng.IntN(4) > 0 {
		return nil
	}
	for i := range 1 + rng.IntN(3) {
		faults = append(faults, fault{index: index + i, kind: occupied, node: rng.IntN(nodes), to: 3 * rng.IntN(2),
			at: time.Duration(rng.Int64N(int64(50 * time.Second))), lasts: time.Duration(rng.Int64N(int64(25 * time.Second)))})
	}
	return faults
}
