package agent

import "sync"

// Exits tells those who wait for the end of a server that it has come. Servers are
// named by the guard's instance ids.
type Exits struct {
	mu   sync.Mutex
	ends map[string]chan struct{}
}

// Of is closed when the instance has exited and none of it is left.
func (x *Exits) Of(instance string) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.of(instance)
}

func (x *Exits) of(instance string) chan struct{} {
	if x.ends == nil {
		x.ends = map[string]chan struct{}{}
	}
	if x.ends[instance] == nil {
		x.ends[instance] = make(chan struct{})
	}
	return x.ends[instance]
}

// Mark says that the instance has exited.
func (x *Exits) Mark(instance string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.end(x.of(instance))
}

// Only says that of all servers there may be this one at most: a server that died
// with its guard has nobody left to report its end, and whoever waited for that
// would wait for ever.
func (x *Exits) Only(instance string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for other, c := range x.ends {
		if other != instance {
			x.end(c)
		}
	}
}

func (x *Exits) end(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
