package sim

import "time"

// happening is something that will be at a time. Two of one time are in the order
// in which they were planned.
type happening struct {
	at  time.Duration
	seq uint64
	do  func()
}

// queue is a binary heap of happenings.
type queue struct {
	heap []happening
	seq  uint64
}

func (q *queue) add(at time.Duration, do func()) {
	q.seq++
	q.heap = append(q.heap, happening{at, q.seq, do})
	h := q.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !before(h[i], h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func before(a, b happening) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// earliest is when the next happening is.
func (q *queue) earliest() (at time.Duration, any bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// next takes the earliest happening.
func (q *queue) next() (do func()) {
	h := q.heap
	first := h[0]
	last := len(h) - 1
	h[0], h[last] = h[last], happening{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < last && before(h[down], h[least]) {
				least = down
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	q.heap = h
	return first.do
}
