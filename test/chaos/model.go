package chaos

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// What a client may expect of an object here: that terms follow each other, that
// within a term it is a register, or a list, like any other, and that a failover may
// set it back to the last write that survived, once, at the change of the term, and
// never in its middle. So an operation carries the timeline that answered it, and a
// write whether it is there at the end. Which writes may be missing at all is not
// this model's business, but lossJudge's.
//
// Reads count at the current holder only: a deposed primary may serve old rows until
// its deadline, and longer when its whole agent is frozen. Reads that ended after a newer
// timeline had answered anything are therefore left out (and counted): in a synchronous
// mode a new primary may serve reads for seconds before its first commit is confirmed.

// request is what the model gets of an operation.
type request struct {
	read     bool
	value    int64
	tl       int32
	survived bool
}

// object is the state: what is visible now, and what of it survives this timeline.
type object struct {
	tl            int32
	live, durable []int64
	// forked: a write of this timeline was lost, so no later one of it survived.
	forked bool
}

// objectModel is a register, or a list when writes append.
func objectModel(appends bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return object{} },
		Step: func(state, input, output any) (bool, any) {
			return step(as[object](state), as[request](input), output, appends)
		},
		Equal: func(a, b any) bool {
			x, y := as[object](a), as[object](b)
			return x.tl == y.tl && x.forked == y.forked && slices.Equal(x.live, y.live) && slices.Equal(x.durable, y.durable)
		},
		DescribeOperation: func(input, output any) string {
			in := as[request](input)
			if in.read {
				return fmt.Sprintf("read on %d: %v", in.tl, output)
			}
			return fmt.Sprintf("write %d on %d (survived: %t)", in.value, in.tl, in.survived)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// as gives a value the type it always has here: porcupine passes what it was given,
// in values of any.
func as[T any](value any) (typed T) {
	typed, _ = value.(T)
	return typed
}

// step is one operation on an object: possible or not, and what it leaves.
func step(s object, in request, output any, appends bool) (bool, object) {
	if in.tl < s.tl {
		return false, s
	}
	if in.tl > s.tl {
		s = object{tl: in.tl, live: s.durable, durable: s.durable}
	}
	if in.read {
		return slices.Equal(s.live, as[[]int64](output)), s
	}
	written := func(old []int64) []int64 {
		if appends {
			return append(slices.Clone(old), in.value)
		}
		return []int64{in.value}
	}
	s.live = written(s.live)
	switch {
	case !in.survived:
		s.forked = true
	case s.forked:
		return false, s
	default:
		s.durable = written(s.durable)
	}
	return true, s
}

// never is the return of an operation whose outcome its client never learned.
const never = math.MaxInt64

// checkLimit bounds the search for one object's order.
const checkLimit = 20 * time.Second

// linear is what the check of all objects found.
type linear struct {
	checked, staleReads, undecided int
	violations                     []string
}

// judgeObjects checks the history of every register and list.
func judgeObjects(h *history, excepted map[*operation]time.Duration) linear {
	var found linear
	newer := h.newerAnswer()
	type object struct {
		kind kind
		key  int64
	}
	histories := map[object][]porcupine.Operation{}
	readers := h.whoRead()
	for _, op := range h.all {
		if op.kind == watch {
			continue
		}
		if op.read && op.outcome == acked && op.ret >= newer(op.tl) {
			found.staleReads++
			continue
		}
		if o, counts := operationFor(op, readers, excepted); counts {
			at := object{op.kind, op.key}
			histories[at] = append(histories[at], o)
		}
	}
	for at, ops := range histories {
		found.checked++
		switch porcupine.CheckOperationsTimeout(objectModel(at.kind == list), ops, checkLimit) {
		case porcupine.Illegal:
			found.violations = append(found.violations, fmt.Sprintf("the history of %s %d is not linearizable:\n%s", at.kind, at.key, story(ops)))
		case porcupine.Unknown:
			found.undecided++
		case porcupine.Ok:
		}
	}
	return found
}

// operationFor is an operation for the model; counts is false when it says nothing.
func operationFor(op *operation, readers map[int64]int32, excepted map[*operation]time.Duration) (o porcupine.Operation, counts bool) {
	in := request{read: op.read, value: op.id, tl: op.tl, survived: op.survived}
	o = porcupine.Operation{ClientId: 0, Input: in, Call: int64(op.call), Output: op.seen, Return: int64(op.ret)}
	if op.read {
		o.Output = slices.Clone(op.seen)
		return o, op.outcome == acked
	}
	if _, frozen := excepted[op]; frozen || op.outcome == none {
		return o, false
	}
	if op.outcome == acked {
		return o, true
	}
	o.Return = never
	if !op.survived { // it happened only if somebody saw it, there and then
		tl, seen := readers[op.id]
		in.tl = tl
		o.Input = in
		return o, seen
	}
	return o, true
}

// whoRead gives the timeline on which each value was read first.
func (h *history) whoRead() map[int64]int32 {
	first := map[int64]int32{}
	for _, op := range h.all {
		if !op.read || op.outcome != acked {
			continue
		}
		for _, id := range op.seen {
			if tl, known := first[id]; !known || op.tl < tl {
				first[id] = op.tl
			}
		}
	}
	return first
}

// newerAnswer gives the first answer, to a write or a read, on any newer timeline.
func (h *history) newerAnswer() func(tl int32) instant {
	first := map[int32]instant{}
	for _, op := range h.all {
		if op.outcome != acked {
			continue
		}
		if at, known := first[op.tl]; !known || op.ret < at {
			first[op.tl] = op.ret
		}
	}
	return func(tl int32) instant {
		at := instant(never)
		for other, ret := range first {
			if other > tl {
				at = min(at, ret)
			}
		}
		return at
	}
}

func (k kind) String() string { return [...]string{"register", "list", "watcher"}[k] }

// story is a history in the order of its calls.
func story(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var lines []string
	for _, o := range ops {
		lines = append(lines, fmt.Sprintf("  %v..%v %+v -> %v", time.Duration(o.Call), time.Duration(o.Return), o.Input, o.Output))
	}
	return strings.Join(lines, "\n")
}
