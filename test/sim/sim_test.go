package sim

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestAHealthyClusterBootsAndReplacesItsPrimary(t *testing.T) {
	w := newWorld(1, 3, `{"ttl":5,"loop_wait":2,"retry_timeout":3}`, true)
	defer w.close()
	for _, n := range w.nodes {
		n.power()
	}
	w.clients()
	w.runUntil(20 * time.Second)
	var lead *Node
	for _, n := range w.nodes {
		if n.holds() {
			lead = n
		}
	}
	if lead != nil {
		w.tell(lead, "POWER OFF")
		lead.crash()
	}
	w.runUntil(40 * time.Second)
	if w.violation != "" || lead == nil {
		t.Errorf("%s\n%s", w.violation, w.text)
	}
	lead.power()
	w.runUntil(60 * time.Second)
	if os.Getenv("SHOW") != "" {
		fmt.Print(string(w.text))
	}
	if w.violation != "" || !w.settled() {
		t.Errorf("%s %s\n%s", w.violation, w.unsettled(), w.text)
	}
}
