package sim

import "time"

// task is something to do. The common ones are pointers to what they are about
// under a type of their own, so that planning one allocates nothing.
type task interface{ do() }

// doing is any other task.
type doing func()

func (d doing) do() { d() }

// happening is something that will be at a time. Two of one time are in the order
// in which they were planned.
type happening struct {
	at   time.Duration
	seq  uint64
	what task
}

// queue is a heap of happenings with four children each.
type queue struct {
	heap []happening
	seq  uint64
}

const children = 4

func (q *queue) add(at time.Duration, what task) {
	q.seq++
	e := happening{at, q.seq, what}
	q.heap = append(q.heap, e)
	h := q.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / children
		if h[up].at <= at { // of one time, the one that is there is older
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

func before(a, b *happening) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// earliest is when the next happening is.
func (q *queue) earliest() (at time.Duration, any bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// next takes the earliest happening.
func (q *queue) next() task {
	h := q.heap
	first := h[0].what
	last := len(h) - 1
	e := h[last]
	h[last] = happening{}
	h = h[:last]
	q.heap = h
	if last == 0 {
		return first
	}
	i := 0
	for {
		least := i*children + 1
		if least >= last {
			break
		}
		for down := least + 1; down < min(i*children+1+children, last); down++ {
			if before(&h[down], &h[least]) {
				least = down
			}
		}
		if !before(&h[least], &e) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = e
	return first
}

// wakeup is one alarm that is set again and again, mostly to later: only when it
// has rung too early is it planned anew.
type wakeup struct {
	at      time.Duration
	planned time.Duration // the earliest ring that is planned; 0 for none
}

func (u *wakeup) set(w *World, at time.Duration, ring task) {
	u.at = max(at, w.now)
	if u.planned == 0 || u.at < u.planned {
		u.planned = u.at
		w.add(u.at, ring)
	}
}

// rings reports whether it is time, when a planned ring comes.
func (u *wakeup) rings(w *World, ring task) bool {
	switch {
	case u.planned != w.now: // an earlier plan
		return false
	case u.at == never:
		u.planned = 0
		return false
	case u.at > w.now:
		u.planned = u.at
		w.add(u.at, ring)
		return false
	}
	u.planned = 0
	return true
}
