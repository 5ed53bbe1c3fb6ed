package testbed

import (
	"fmt"
	"maps"
	"net"
	"os/exec"
	"strconv"
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
	// EtcdQuota bounds etcd's database, in bytes; 0 for etcd's own bound.
	EtcdQuota int64

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
	// Host places a node or an etcd member (by its name) on the network; nil: all are
	// on the loopback address.
	Host func(name string) Host
	// Folder, when set, is called with each new folder of a node and of an etcd
	// member (which is where its data goes) before anything runs there, to mount a
	// file system on it.
	Folder func(name, dir string) error
	// Release, when set, is called by Close when all processes have ended, to undo
	// what Folder did.
	Release func() error
	// Environment is added to that of every node.
	Environment []string
}

// Host is a network namespace and its address. The zero value is this program's
// own, and the loopback address.
type Host struct {
	// Address is that of the namespace, an IPv4 address in one subnet with all
	// others and with this program.
	Address string
	// Namespace is the file that names it, such as /run/netns/pg1.
	Namespace string
}

// address of a port of this host.
func (h Host) address(port int) string {
	if h.Address == "" {
		return address(port)
	}
	return net.JoinHostPort(h.Address, strconv.Itoa(port))
}

// command runs a program on this host. nsenter executes it in its own place: the
// process is the one that was started.
func (h Host) command(program string, args ...string) *exec.Cmd {
	if h.Namespace != "" {
		program, args = "nsenter", append([]string{"--net=" + h.Namespace, "--", program}, args...)
	}
	return exec.Command(program, args...) //nolint:noctx // outlives the start; ends by its pipe or its signal
}

// host places a node or a member.
func (o *Options) host(name string) Host {
	if o.Host == nil {
		return Host{}
	}
	return o.Host(name)
}

// prepare lets the caller mount a file system on a new folder.
func (o *Options) prepare(name, dir string) error {
	if o.Folder == nil {
		return nil
	}
	if err := o.Folder(name, dir); err != nil {
		return fmt.Errorf("prepare the folder of %s: %w", name, err)
	}
	return nil
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

// maxConnections is what a server takes.
func (o *Options) maxConnections() string { return fmt.Sprint(o.parameters()["max_connections"]) }

// dynamic is the first dynamic configuration.
func (o *Options) dynamic() map[string]any {
	d := map[string]any{
		"ttl": o.TTL.Seconds(), "loop_wait": o.LoopWait.Seconds(), "retry_timeout": o.RetryTimeout.Seconds(),
		"failsafe_mode": false, // most faults here are about what happens without it
		"postgresql":    map[string]any{"use_pg_rewind": true, "use_slots": true, "parameters": o.parameters()},
	}
	maps.Copy(d, o.Dynamic)
	return d
}
