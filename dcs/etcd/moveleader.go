package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// nearby is how far behind the leader a member may be that is to lead next, in raft
// entries.
const nearby = 1000

// errNoneToLead: there is no member the leadership could go to.
var errNoneToLead = errors.New("no other member is in reach, up to date, and on another machine")

// leading is the endpoint of etcd's leader by the newest term anybody told; empty when
// it is none of ours.
func (e evidence) leading() string {
	var newest probe
	for _, p := range e.probes {
		if p.err == nil && p.term > newest.term {
			newest = p
		}
	}
	if newest.leader == 0 {
		return ""
	}
	return e.endpointOf(newest.leader)
}

func (k *KV) leaderHere(ctx context.Context, e evidence) bool {
	at := e.leading()
	return at != "" && k.local(ctx, at)
}

// local reports whether an endpoint is on this machine.
func (k *KV) local(ctx context.Context, endpoint string) bool {
	if k.options.Local != nil {
		return k.options.Local(endpoint)
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	// Names are looked up: a few a minute, and mostly in /etc/hosts.
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return false
	}
	for _, ip := range ips {
		if ip.IP.IsLoopback() {
			return true
		}
		for _, a := range addresses {
			if own, ok := a.(*net.IPNet); ok && own.IP.Equal(ip.IP) {
				return true
			}
		}
	}
	return false
}

// MoveLeader hands etcd's leadership from the member on this machine to the one on
// another that answers quickest. It looks at all of them first, and does nothing while
// etcd is in trouble: a leader is moved for the sake of a loss to come, never into one.
func (k *KV) MoveLeader(ctx context.Context) (to string, err error) {
	if v := k.Health(ctx, true); len(v.Troubles) > 0 {
		return "", fmt.Errorf("etcd is in trouble: %s", v.Troubles[0])
	}
	e := k.evidence()
	from := e.leading()
	to = k.successor(ctx, e, from)
	switch {
	case from == "" || !k.local(ctx, from):
		return "", nil // it leads elsewhere by now
	case to == "":
		return "", errNoneToLead
	}
	client, err := k.with(ctx)
	if err != nil {
		return "", err
	}
	for _, keeper := range k.keepers {
		if keeper.endpoint != from {
			continue
		}
		conn, err := keeper.connection(client)
		if err != nil {
			return "", err
		}
		if _, err := pb.NewMaintenanceClient(conn).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: e.probes[to].member}); err != nil {
			return "", fmt.Errorf("move etcd's leader from %s to %s: %w", from, to, k.read("move leader", err))
		}
	}
	return to, nil
}

// successor is the endpoint of the best member to lead next.
func (k *KV) successor(ctx context.Context, e evidence, from string) (best string) {
	head := e.probes[from].applied
	for _, endpoint := range e.endpoints {
		p, asked := e.probes[endpoint]
		if endpoint == from || !asked || p.err != nil || p.learner || p.applied+nearby < head || k.local(ctx, endpoint) {
			continue
		}
		if best == "" || p.took < e.probes[best].took {
			best = endpoint
		}
	}
	return best
}
