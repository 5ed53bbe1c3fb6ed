package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// hostName is what a host may be called: names of DNS, and the underscore that
// compose files are full of.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// splitAddress takes "a,b:port" apart. Hosts come without brackets; without a
// port the default holds.
func splitAddress(text string, defaultPort int) (hosts []string, port int, err error) {
	text, port = strings.TrimSpace(text), defaultPort
	head, tail := text, ""
	if _, err := netip.ParseAddr(text); err != nil {
		if cut := strings.LastIndexByte(text, ':'); cut >= 0 && cut > strings.LastIndexByte(text, ']') {
			head, tail = text[:cut], text[cut+1:]
		}
	}
	if tail != "" || head != text {
		port, err = strconv.Atoi(tail)
		if err != nil || port < 1 || port > 65535 {
			return nil, 0, errors.New("must end in a port between 1 and 65535")
		}
	}
	for host := range strings.SplitSeq(head, ",") {
		host = strings.TrimSpace(host)
		if bare, ok := strings.CutPrefix(host, "["); ok {
			host = strings.TrimSuffix(bare, "]")
			if _, err := netip.ParseAddr(host); err != nil {
				return nil, 0, fmt.Errorf("must be an IPv6 address inside the brackets")
			}
		}
		if !validHost(host) {
			return nil, 0, fmt.Errorf("must be host:port, and %q is no host", host)
		}
		hosts = append(hosts, host)
	}
	return hosts, port, nil
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || wildcard(host) {
		return true
	}
	return len(host) <= 253 && hostName.MatchString(host)
}

// wildcard reports an address that means every interface: one can listen on it,
// and nobody can connect to it.
func wildcard(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsUnspecified()
	}
	return host == "*" || host == ""
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// ListenHosts are the addresses of Listen, without brackets; "*" is every one.
func (p *PostgreSQL) ListenHosts() []string {
	hosts, _, _ := splitAddress(p.Listen, 5432)
	return hosts
}

// Port is the port of Listen.
func (p *PostgreSQL) Port() int {
	_, port, _ := splitAddress(p.Listen, 5432)
	return port
}

// LocalHost is an address at which the agent on this machine reaches the
// server: loopback when the server listens there or everywhere, else the first
// of its addresses.
func (p *PostgreSQL) LocalHost() string {
	hosts := p.ListenHosts()
	for _, h := range hosts {
		switch {
		case h == "::":
			return "::1"
		case wildcard(h):
			return "127.0.0.1"
		case loopback(h):
			return h
		}
	}
	if len(hosts) == 0 {
		return "127.0.0.1"
	}
	return hosts[0]
}
