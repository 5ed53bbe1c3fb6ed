package testbed

import (
	"maps"
	"time"
)

// Options describe a cluster. The zero value is three nodes on one embedded etcd,
// with fast clocks and fsync off.
type Options struct {
	Nodes int // 0: three; -1: none
	// EtcdMembers is the size of the etcd cluster: 1 (the default) or 3.
	EtcdMembers int
	// EtcdBinary runs the distribution's etcd server as processes in place of the
	// embedded one, so that members can be killed.
	EtcdBinary bool

	TTL, LoopWait, RetryTimeout time.Duration // 0: 5 s, 1 s, 1 s
	// Parameters are PostgreSQL's, of the dynamic configuration.
	Parameters map[string]any
	// Dynamic is merged over the first dynamic configuration, at its top level.
	Dynamic map[string]any
	// InitDB are further options of initdb.
	InitDB []any
	// Configure changes the configuration of a node before it is written; name is
	// that of the node.
	Configure func(name string, config map[string]any)
	// Fsync leaves fsync on, for measurements.
	Fsync bool
	// Unstarted leaves the nodes down: the test starts them.
	Unstarted bool
	// Environment is added to that of every node.
	Environment []string
}

func (o *Options) fill() {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	o.Nodes = max(o.Nodes, 0)
	o.EtcdMembers = max(o.EtcdMembers, 1)
	if o.TTL == 0 {
		o.TTL = 5 * time.Second
	}
	if o.LoopWait == 0 {
		o.LoopWait = time.Second
	}
	if o.RetryTimeout == 0 {
		o.RetryTimeout = time.Second
	}
}

// Names of what every cluster has.
const (
	Scope             = "bed"
	superuser         = "postgres"
	superuserPassword = "super-secret"
)

// parameters are the server settings of the dynamic configuration.
func (o *Options) parameters() map[string]any {
	p := map[string]any{
		"max_connections": 60, "shared_buffers": "16MB", "max_wal_size": "128MB", "min_wal_size": "32MB",
		"log_min_messages": "warning", "jit": "off",
	}
	if !o.Fsync {
		p["fsync"] = "off"
	}
	maps.Copy(p, o.Parameters)
	return p
}

// dynamic is the first dynamic configuration.
func (o *Options) dynamic() map[string]any {
	d := map[string]any{
		"ttl": o.TTL.Seconds(), "loop_wait": o.LoopWait.Seconds(), "retry_timeout": o.RetryTimeout.Seconds(),
		"postgresql": map[string]any{"use_pg_rewind": true, "use_slots": true, "parameters": o.parameters()},
	}
	maps.Copy(d, o.Dynamic)
	return d
}
