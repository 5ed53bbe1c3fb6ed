package sim

import "time"

// process is an operating system process: what runs in it waits while it is
// frozen and never goes on once it is dead.
type process struct {
	w      *World
	frozen bool
	stops  int // how many faults keep it frozen
	dead   bool
	held   []task
	order  []*routine
}

// run does something in the process, now or when it thaws.
func (p *process) run(what task) {
	switch {
	case p.dead:
	case p.frozen:
		p.held = append(p.held, what)
	default:
		what.do()
	}
}

func (p *process) freeze() {
	p.frozen = true
	p.stops++
	p.w.stirred = true
}

// thaw ends one of the faults that keep it frozen.
func (p *process) thaw() {
	if p.stops--; p.stops <= 0 {
		p.goesOn()
	}
}

// goesOn lets everything be done that came due meanwhile, in its order.
func (p *process) goesOn() {
	if p.stops = 0; !p.frozen {
		return
	}
	p.frozen = false
	p.w.stirred = true
	held := p.held
	p.held = nil
	for i, what := range held {
		p.w.after(time.Duration(i)*time.Microsecond, doing(func() { p.run(what) }))
	}
}

func (p *process) kill() {
	if p.dead {
		return
	}
	p.dead, p.held = true, nil
	for _, r := range p.order {
		r.end()
	}
	p.order = nil
}

func (p *process) forget(r *routine) {
	for i, other := range p.order {
		if other == r {
			last := len(p.order) - 1
			p.order[i] = p.order[last]
			p.order[last] = nil
			p.order = p.order[:last]
			return
		}
	}
}
