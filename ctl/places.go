package ctl

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// Place is where one member is reached.
type Place struct {
	Name, Host string
	// Port is PostgreSQL's, RESTPort the agent's.
	Port, RESTPort int
	// TLS: the agent's has it.
	TLS bool
}

// Places are where the members of a cluster are reached.
type Places struct {
	Scope   string
	Members []Place
	// Left are the slots of members whose agents are down and which the primary expects back: where they are reached is not
	// known.
	Left []string
}

// Places are the addresses that the members of the cluster tell, by name. A member that has told none yet is an error:
// who writes them into a file would leave it out without a word.
func (o *Operator) Places(ctx context.Context) (Places, error) {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return Places{}, err
	}
	all := Places{Scope: overview.Scope, Left: overview.Left}
	for _, m := range overview.Members {
		place, err := placeOf(m)
		if err != nil {
			return Places{}, err
		}
		all.Members = append(all.Members, place)
	}
	if len(all.Members) == 0 {
		return Places{}, fmt.Errorf("cluster %s has no members", overview.Scope)
	}
	return all, nil
}

func placeOf(m Member) (Place, error) {
	host, port, err := net.SplitHostPort(m.Host)
	number, convErr := strconv.Atoi(port)
	if err != nil || convErr != nil {
		return Place{}, fmt.Errorf("member %s has told no address of its server: its agent is starting, or is not configured with postgresql.connect_address", m.Name)
	}
	api, err := url.Parse(m.APIURL)
	if err != nil || api.Port() == "" {
		return Place{}, fmt.Errorf("member %s has told no address of its REST API: its agent is starting, or is not configured with restapi.connect_address", m.Name)
	}
	rest, err := strconv.Atoi(api.Port())
	return Place{Name: m.Name, Host: host, Port: number, RESTPort: rest, TLS: api.Scheme == "https"}, err
}
