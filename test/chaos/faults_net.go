package chaos

import (
	"context"
	"strconv"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

func linkDown(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
	return lan.Unplug(n.Name)
}

// cut loses packets of one node by rules.
func cut(rules func(w *world, n *testbed.Node) []drop) func(context.Context, *world, *testbed.Node) (func() error, error) {
	return func(_ context.Context, w *world, n *testbed.Node) (func() error, error) {
		return lose(rules(w, n)...)
	}
}

func cutIn(_ *world, n *testbed.Node) []drop {
	return []drop{{n.Name, "INPUT", []string{"--in-interface", "eth0"}}}
}

func cutOut(_ *world, n *testbed.Node) []drop {
	return []drop{{n.Name, "OUTPUT", []string{"--out-interface", "eth0"}}}
}

func cutEtcd(_ *world, n *testbed.Node) []drop {
	var all []drop
	for _, member := range []string{"etcd1", "etcd2", "etcd3"} {
		all = append(all, both(n.Name, []string{"--source", lan.Address(member)}, []string{"--destination", lan.Address(member)})...)
	}
	return all
}

// cutSQL loses what passes the PostgreSQL port of any node, in either direction.
func cutSQL(w *world, n *testbed.Node) []drop {
	return cutPorts(w, n, func(n *testbed.Node) int { return n.SQLPort })
}

func cutREST(w *world, n *testbed.Node) []drop {
	return cutPorts(w, n, func(n *testbed.Node) int { return n.APIPort })
}

func cutPorts(w *world, n *testbed.Node, port func(*testbed.Node) int) []drop {
	tcp := func(way string, n *testbed.Node) []string {
		return []string{"--protocol", "tcp", way, strconv.Itoa(port(n))}
	}
	all := both(n.Name, tcp("--destination-port", n), tcp("--source-port", n))
	for _, other := range w.c.Others(n) {
		all = append(all, both(n.Name, tcp("--source-port", other), tcp("--destination-port", other))...)
	}
	for i := range all { // the node's own agent talks to its server by this address too
		way := "--in-interface"
		if all[i].chain == "OUTPUT" {
			way = "--out-interface"
		}
		all[i].match = append(all[i].match, way, "eth0")
	}
	return all
}

func lossy(_ *world, n *testbed.Node) []drop {
	random := []string{"--match", "statistic", "--mode", "random", "--probability", "0.1"}
	return both(n.Name, append([]string{"--in-interface", "eth0"}, random...), append([]string{"--out-interface", "eth0"}, random...))
}

func delay(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
	return delayHost(n.Name)
}
