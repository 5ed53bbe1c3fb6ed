package agent

import "testing"

// Found by the simulator (seed 4476): a guard that was killed while a server was
// starting left the job waiting for ever, and the lease with it.
func TestAServerThatDiedWithItsGuardIsNotWaitedFor(t *testing.T) {
	var x Exits
	gone, runs := x.Of("i1"), x.Of("i2")
	x.Only("i2")
	select {
	case <-gone:
	default:
		t.Error("the end of i1 is still waited for, though the guard holds i2")
	}
	select {
	case <-runs:
		t.Error("i2 runs, and counts as ended")
	default:
	}
	x.Mark("i2")
	x.Mark("i2")
	x.Only("")
	<-runs
}
