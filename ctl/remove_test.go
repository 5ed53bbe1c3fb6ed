package ctl

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// asked has the leader's agent answer requests to remove, and notes for whom.
func asked(t *testing.T, r *rig, answer cluster.Result) *[]string {
	t.Helper()
	var names []string
	r.agents(t, func(_ cluster.View, q cluster.Request, _ *cluster.Failover) *cluster.Result {
		var args cluster.RemoveArgs
		if q.Kind != cluster.RequestRemove || json.Unmarshal(q.Args, &args) != nil {
			return nil
		}
		names = append(names, q.Member+" removes "+args.Member)
		answer.Member = q.Member
		return &answer
	})
	return &names
}

func TestRemoveAsksTheLeaderForAMemberThatIsGone(t *testing.T) {
	r := newRig(t, situations()["healthy"])
	r.Console.Force = true
	names := asked(t, r, cluster.Result{Done: true, Message: "the slot gone1 is dropped"})
	if err := r.Remove(t.Context(), []string{"gone1", "gone2"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(*names, ", "); got != "pg1 removes gone1, pg1 removes gone2" {
		t.Errorf("asked: %s", got)
	}
	if !strings.Contains(r.out.String(), "Success: gone2 is removed (the slot gone1 is dropped)") {
		t.Errorf("said %q", r.out.String())
	}
}

func TestRemoveIsRefusedForWhoIsThere(t *testing.T) {
	keys := situations()["healthy"]
	keys["config"] = `{"ttl": 2}`
	r := newRig(t, keys)
	r.Console.Force = true
	names := asked(t, r, cluster.Result{Done: true})
	for name, want := range map[string]string{"pg1": "is the leader", "pg2": "its agent runs"} {
		if err := r.Remove(t.Context(), []string{name}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a refusal with %q", name, err, want)
		}
	}
	if len(*names) != 0 {
		t.Errorf("asked %v", *names)
	}
}

func TestRemoveAsksFirstAndTellsARefusal(t *testing.T) {
	r := newRig(t, situations()["healthy"], "no")
	if err := r.Remove(t.Context(), []string{"gone"}); !errors.Is(err, ErrAborted) {
		t.Errorf("after no: %v", err)
	}
	r.Console.Force = true
	asked(t, r, cluster.Result{Refused: true, Message: "the cluster is paused"})
	if err := r.Remove(t.Context(), []string{"gone"}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "paused") {
		t.Errorf("after a refusal: %v", err)
	}
}
