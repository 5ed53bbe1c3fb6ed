package chaos

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// The network is one bridge in the test's namespace, which has an address on it,
// and a link to each host.
const (
	bridge     = "hub"
	subnet     = "10.77.0."
	hubAddress = subnet + "1"
)

// hosts have these last numbers of their addresses.
var hosts = map[string]int{"pg1": 11, "pg2": 12, "pg3": 13, "etcd1": 21, "etcd2": 22, "etcd3": 23}

func hostAddress(name string) string { return fmt.Sprintf("%s%d", subnet, hosts[name]) }

// hostOf places a node or member for the testbed.
func hostOf(name string) testbed.Host {
	return testbed.Host{Address: hostAddress(name), Namespace: filepath.Join("/run/netns", name)}
}

func hostNames() []string {
	var names []string
	for name := range hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// makeNetwork makes bridge, namespaces and links, once in the life of the test.
func makeNetwork() error {
	all := []error{
		command("ip", "link", "add", bridge, "type", "bridge"),
		command("ip", "address", "add", hubAddress+"/24", "dev", bridge),
		command("ip", "link", "set", bridge, "up"),
	}
	for _, name := range hostNames() {
		all = append(all, makeHost(name))
	}
	all = append(all, noOffload(bridge))
	return errors.Join(all...)
}

func makeHost(name string) error {
	near, far := link(name), "far-"+name
	err := errors.Join(command("ip", "link", "add", near, "type", "veth", "peer", "name", far), noOffload(near), noOffload(far))
	if err != nil {
		return fmt.Errorf("make the network of %s: %w", name, err)
	}
	for _, args := range [][]string{
		{"netns", "add", name},
		{"link", "set", far, "netns", name, "name", "eth0"},
		{"link", "set", near, "master", bridge},
		{"link", "set", near, "up"},
		{"-n", name, "link", "set", "lo", "up"},
		{"-n", name, "address", "add", hostAddress(name) + "/24", "dev", "eth0"},
		{"-n", name, "link", "set", "eth0", "up"},
	} {
		if err := command("ip", args...); err != nil {
			return fmt.Errorf("make the network of %s: %w", name, err)
		}
	}
	return nil
}

// link is the hub's end of a host's link.
func link(name string) string { return "to-" + name }

// inside runs a program in a host's network namespace.
func inside(host, name string, args ...string) error {
	return command("nsenter", append([]string{"--net=" + hostOf(host).Namespace, "--", name}, args...)...)
}

// drop is packets of one host that get lost: rules for iptables, without the chain.
type drop struct {
	host  string
	chain string // INPUT or OUTPUT
	match []string
}

func (d drop) apply(action string) error {
	args := slices.Concat([]string{"--wait", action, d.chain}, d.match, []string{"-j", "DROP"})
	return inside(d.host, "iptables", args...)
}

// lose puts the rules in force and returns what takes them back.
func lose(all ...drop) (heal func() error, err error) {
	for i, d := range all {
		if err := d.apply("--insert"); err != nil {
			return nil, errors.Join(err, keep(all[:i]))
		}
	}
	return func() error { return keep(all) }, nil
}

func keep(all []drop) error {
	var errs error
	for _, d := range all {
		errs = errors.Join(errs, d.apply("--delete"))
	}
	return errs
}

// both is a rule for packets in and out: the match of what goes out has the other
// end as its destination.
func both(host string, in, out []string) []drop {
	return []drop{{host, "INPUT", in}, {host, "OUTPUT", out}}
}
