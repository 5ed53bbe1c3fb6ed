package guard

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// The parent-death signal goes by the thread that forked: a goroutine that is not
// locked may fork from a thread that ends long before the guard, and the server
// would be stopped with it.
func TestServersAreForkedFromALockedThread(t *testing.T) {
	newProcessTable(false)
	stacks := make([]byte, 1<<20)
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			head, _, _ := strings.Cut(stack, "\n")
			if strings.Contains(stack, "(*processTable).spawner") && strings.Contains(head, "[chan receive") {
				if !strings.Contains(head, "locked to thread") {
					t.Fatalf("the spawner waits for orders as %s, want it locked to its thread", head)
				}
				return
			}
		}
		runtime.Gosched()
	}
	t.Fatal("the spawner does not wait for orders")
}
