package chaos

import (
	"errors"
	"slices"

	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// inside runs a program in a host's network namespace.
func inside(host, name string, args ...string) error {
	return lan.Command("nsenter", append([]string{"--net=" + lan.Host(host).Namespace, "--", name}, args...)...)
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
