package sim

import "time"

// deadlines keeps the ends of contexts out of the queue for as long as they are
// far: most contexts are done by then.
type deadlines struct {
	// far are those of one period each; period i begins at i times its length.
	far [64][]*expiry
}

const deadlinePeriod = 500 * time.Millisecond

func (d *deadlines) add(w *World, at time.Duration, x *expiry) {
	x.at = at
	period := at / deadlinePeriod
	ahead := period - w.now/deadlinePeriod
	if ahead == 0 || int(ahead) >= len(d.far) {
		w.add(at, x)
		return
	}
	bucket := &d.far[int(period)%len(d.far)]
	if *bucket == nil {
		*bucket = make([]*expiry, 0, 16)
	}
	*bucket = append(*bucket, x)
	if len(*bucket) == 1 {
		w.add(period*deadlinePeriod, (*nearing)(w))
	}
}

// nearing is the beginning of a period in which contexts may end.
type nearing World

func (n *nearing) do() {
	w := (*World)(n)
	bucket := &w.deadlines.far[int(w.now/deadlinePeriod)%len(w.deadlines.far)]
	for i, x := range *bucket {
		if !x.r.ended && x.err == nil {
			w.add(x.at, x)
		}
		(*bucket)[i] = nil
	}
	*bucket = (*bucket)[:0]
}
