package agent

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// onFailsafe asks the members for their promise. s is read before the first question
// leaves; once enough have promised, the guard gets the deadline that a renewal at s
// would have given it, in the same breath, as with a renewal.
func (n *Node) onFailsafe(ctx context.Context, do OnFailsafe) Event {
	e := FailsafeDone{Term: do.Term}
	e.At = n.clock.Now() // guard: promises_count_from_before — SAFETY 3, Failsafe
	e.Until = e.At.Add(do.TTL - do.Margin)
	refused := map[string]string{}
	for _, p := range do.Ask.Peers {
		refused[p.Name] = "no answer"
	}
	if n.peers != nil && len(do.Ask.Peers) > 0 {
		n.peers.Ask(ctx, cluster.FailsafeAsk{Name: n.name(), Term: do.Term, TTL: do.TTL}, do.Ask.Peers, func(name string, a cluster.FailsafeAnswer, err error) bool {
			switch {
			case err != nil:
				refused[name] = err.Error()
			case a.Verdict != cluster.FailsafeAccepted:
				refused[name] = a.Why
			default:
				delete(refused, name)
				e.Accepted = append(e.Accepted, name)
			}
			return do.Ask.Enough(e.Accepted)
		})
	}
	slices.Sort(e.Accepted)
	if !do.Ask.Enough(e.Accepted) {
		e.Err = "too few members promise to wait: " + inWords(refused)
		return e
	}
	if err := n.deadline(ctx, do.Term, e.At, do.TTL, do.Margin); err != nil {
		e.Err = "the guard's deadline is not moved: " + err.Error()
	}
	return e
}

// inWords lists reasons by name.
func inWords(why map[string]string) string {
	var all []string
	for name, text := range why {
		all = append(all, name+": "+text)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// newCluster is the dynamic configuration of a cluster that this member creates:
// failsafe mode is on unless the operator says otherwise.
func newCluster(raw json.RawMessage) json.RawMessage {
	keys := map[string]json.RawMessage{}
	if len(raw) > 0 && json.Unmarshal(raw, &keys) != nil {
		return raw
	}
	if _, said := keys["failsafe_mode"]; said {
		return raw
	}
	keys["failsafe_mode"] = json.RawMessage("true")
	whole, err := json.Marshal(keys)
	if err != nil {
		return raw
	}
	return whole
}
