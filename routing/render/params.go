package render

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Member is one server with its agent.
type Member struct {
	// Name is the member's name in the cluster.
	Name string
	// Host is where both PostgreSQL and the REST API are reached.
	Host string
	// Port is PostgreSQL's, RESTPort the agent's.
	Port, RESTPort int
	// TLS: the agent has a certificate (restapi.certfile), and answers nobody without.
	TLS bool
}

// REST is the agent's address.
func (m Member) REST() string { return net.JoinHostPort(m.Host, strconv.Itoa(m.RESTPort)) }

// Params are what all kinds are rendered from. Start from DefaultParams.
type Params struct {
	// Scope is the cluster's name.
	Scope string
	// Members are the servers where files must name them; Replicas is how many of them are standbys at a time.
	Members []Member
	// Replicas is the number of standbys: the cluster has Replicas+1 members, all alike.
	Replicas int
	// Etcd are etcd's members, host:port.
	Etcd []string
	// Proxy is the host of HAProxy, ProxyRW its port for writes and ProxyRO that for reads.
	Proxy            string
	ProxyRW, ProxyRO int
	// Database is the application's database, User the role it logs in as.
	Database, User string
	// MaxConnections is PostgreSQL's max_connections, equal on all members.
	MaxConnections int
	// Image is the container image of a member, as deploy/Dockerfile builds it.
	Image string
}

// What PostgreSQL keeps of max_connections: superuser_reserved_connections, and what the agent itself uses at most.
const (
	reservedConnections = 3
	agentConnections    = 7
)

// DefaultParams are those of the files shipped under deploy/: three members at addresses that stand for yours.
func DefaultParams() Params {
	p := Params{
		Scope: "demo", Etcd: []string{"192.0.2.21:2379", "192.0.2.22:2379", "192.0.2.23:2379"},
		Proxy: "127.0.0.1", ProxyRW: 5000, ProxyRO: 5001,
		Database: "app", User: "app", MaxConnections: 100, Image: "pgkeeper:latest",
	}
	return p.WithReplicas(2)
}

// WithReplicas gives n standbys and a primary, pg1 to pg<n+1>, addresses that stand for the reader's.
func (p Params) WithReplicas(n int) Params {
	p.Replicas, p.Members = n, nil
	for i := range n + 1 {
		p.Members = append(p.Members, Member{
			Name: fmt.Sprintf("pg%d", i+1), Host: fmt.Sprintf("192.0.2.%d", 11+i), Port: 5432, RESTPort: 8008,
		})
	}
	return p
}

// WithMembers takes the members as they are.
func (p Params) WithMembers(members []Member) Params {
	p.Members, p.Replicas = members, len(members)-1
	return p
}

// TLS reports whether the agents answer by TLS: one that does is enough, since all are asked in one way.
func (p Params) TLS() bool {
	return slices.ContainsFunc(p.Members, func(m Member) bool { return m.TLS })
}

// Nodes is the number of members.
func (p Params) Nodes() int { return p.Replicas + 1 }

// Slots is how many servers HAProxy keeps a place for where it finds them by name: scaling up must find one free.
func (p Params) Slots() int { return max(16, 2*p.Nodes()) }

// EtcdList is Etcd with commas between.
func (p Params) EtcdList() string { return strings.Join(p.Etcd, ",") }

// PoolSize is how many server connections one database of a pooler may open. Two databases, for writes and for reads,
// are rendered; when no replica is left both land on one server, so each gets half of what max_connections leaves.
func (p Params) PoolSize() int { return p.Share(2) }

// Share is the size of each of so many pools that may all lead to one server.
func (p Params) Share(pools int) int {
	return max((p.MaxConnections-reservedConnections-agentConnections)/pools, 1)
}

// MaxReplicas is the most standbys a rendered cluster has: addresses that stand for the reader's end there.
const MaxReplicas = 200

var (
	// word is what all the programs take as one value without quoting.
	word = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	// host may also be an IPv6 address.
	host = regexp.MustCompile(`^[A-Za-z0-9_:][A-Za-z0-9_.:-]*$`)
	// label is what Kubernetes takes for a name.
	label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	image = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./:@-]*$`)
)

func (p Params) validate() error {
	for what, value := range map[string]string{"database": p.Database, "user": p.User} {
		if !word.MatchString(value) {
			return fmt.Errorf("the %s %q cannot be written into these files: use letters, digits and _ . -", what, value)
		}
	}
	switch {
	case !label.MatchString(p.Scope) || len(p.Scope) > 40:
		return fmt.Errorf("the cluster's name %q cannot be a name everywhere: use at most 40 of a-z, 0-9 and -", p.Scope)
	case !host.MatchString(p.Proxy):
		return fmt.Errorf("%q is no host or address of HAProxy", p.Proxy)
	case !image.MatchString(p.Image):
		return fmt.Errorf("%q is no name of an image", p.Image)
	case p.Replicas < 0 || p.Replicas > MaxReplicas:
		return fmt.Errorf("%d replicas: choose 0 to %d", p.Replicas, MaxReplicas)
	case p.MaxConnections < 2*(reservedConnections+agentConnections):
		return fmt.Errorf("max_connections %d leaves nothing for a pooler: %d are PostgreSQL's and the agent's own", p.MaxConnections, reservedConnections+agentConnections)
	case !isPort(p.ProxyRW) || !isPort(p.ProxyRO):
		return fmt.Errorf("ports %d and %d must be between 1 and 65535", p.ProxyRW, p.ProxyRO)
	}
	for _, address := range p.Etcd {
		name, port, err := net.SplitHostPort(address)
		if err != nil || !host.MatchString(name) || !word.MatchString(port) {
			return fmt.Errorf("%q is no address of etcd: want host:port", address)
		}
	}
	return p.validateMembers()
}

func (p Params) validateMembers() error {
	if len(p.Members) == 0 {
		return fmt.Errorf("no members: name them, or say how many replicas")
	}
	seen := map[string]bool{}
	for _, m := range p.Members {
		switch {
		case !word.MatchString(m.Name):
			return fmt.Errorf("the member name %q cannot be written into these files: use letters, digits and _ . -", m.Name)
		case seen[m.Name]:
			return fmt.Errorf("two members are named %s", m.Name)
		case !host.MatchString(m.Host):
			return fmt.Errorf("member %s: %q is no host or address", m.Name, m.Host)
		case !isPort(m.Port) || !isPort(m.RESTPort):
			return fmt.Errorf("member %s: ports %d and %d must be between 1 and 65535", m.Name, m.Port, m.RESTPort)
		}
		seen[m.Name] = true
	}
	return nil
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }
