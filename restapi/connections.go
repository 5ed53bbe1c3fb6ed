package restapi

import (
	"container/list"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// ServeOptions are the bounds of Serve.
type ServeOptions struct {
	// Connections is how many may be open at once; 0 takes DefaultConnections. It
	// is lowered to what the limit of open files leaves.
	Connections int
	// Log may be nil.
	Log *slog.Logger
}

// DefaultConnections is how many connections may be open at once.
const DefaultConnections = 16384

// otherFiles are left to everything that is no connection of the REST API.
const otherFiles = 512

// connections closes the connection that has been idle longest when there are too
// many, so that whoever opens them without end takes them from himself and not
// from a load balancer, whose next check is never far. One whose request is still
// on its way in counts as idle.
type connections struct {
	limit int
	log   *slog.Logger

	mu   sync.Mutex
	open int
	// idle are net.Conns, the longest idle first; where is their place in it.
	idle  *list.List
	where map[net.Conn]*list.Element
	// closing were chosen to go: they do not count as open any more.
	closing map[net.Conn]bool
	full    bool
}

func newConnections(limit int, log *slog.Logger) *connections {
	if limit <= 0 {
		limit = DefaultConnections
	}
	// Go has raised the soft limit to the hard one when the process began.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur < uint64(limit)+otherFiles {
		allowed := int(max(files.Cur, 2*otherFiles)) - otherFiles
		log.Warn("fewer connections than configured", "wanted", limit, "connections", allowed, "reason", "the limit of open files is too low: raise it (ulimit -Hn, LimitNOFILE)")
		limit = allowed
	}
	return &connections{limit: limit, log: log, idle: list.New(), where: map[net.Conn]*list.Element{}, closing: map[net.Conn]bool{}}
}

// state follows net/http's word about a connection.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place, found := c.where[conn]; found {
		c.idle.Remove(place)
		delete(c.where, conn)
	}
	switch state {
	case http.StateNew:
		c.open++
		c.makeRoom(conn)
		if !c.closing[conn] {
			c.where[conn] = c.idle.PushBack(conn)
		}
	case http.StateIdle:
		if !c.closing[conn] {
			c.where[conn] = c.idle.PushBack(conn)
		}
	case http.StateClosed, http.StateHijacked:
		if c.closing[conn] {
			delete(c.closing, conn)
			return
		}
		c.open--
		c.full = c.full && c.open >= c.limit
	}
}

// makeRoom closes a connection when there is one too many: the longest idle, or
// the new one when all others are at work. It does not wait for the closing, which
// under TLS says good-bye first.
func (c *connections) makeRoom(fresh net.Conn) {
	if c.open <= c.limit {
		return
	}
	if !c.full {
		c.full = true
		c.log.Warn("too many connections", "connections", c.limit, "reason", "those idle longest are closed; the bound is pgkeeper.rest_connections")
	}
	victim := fresh
	if oldest := c.idle.Front(); oldest != nil {
		victim, _ = c.idle.Remove(oldest).(net.Conn)
		delete(c.where, victim)
	}
	c.open--
	c.closing[victim] = true
	go victim.Close()
}
