package pgrw

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// dsn is where the servers are, or who knows, and how to connect to each.
type dsn struct {
	// agents are URLs such as http://a:8008; servers are host:port. One of both is empty.
	agents, servers []string
	// before and after are the DSN of one server without its address.
	before, after string
}

// at is the DSN of one server.
func (d dsn) at(address string) string { return d.before + address + d.after }

// parseDSN reads what Open takes. The hosts are split here and not by net/url, to which
// a list of hosts with ports is no host.
func parseDSN(text string) (dsn, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return dsn{}, errors.New("want pgkeeper://AGENT:8008,.../DATABASE or postgres://SERVER:5432,.../DATABASE")
	}
	authority, path := rest, ""
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		authority, path = rest[:at], rest[at:]
	}
	user, hosts := "", authority
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, hosts = authority[:at+1], authority[at+1:]
	}
	d := dsn{before: "postgres://" + user}
	var err error
	if d.after, err = forOneServer(path); err != nil {
		return dsn{}, err
	}
	switch scheme {
	case "pgkeeper", "pgkeeper+http":
		d.agents, err = addresses(hosts, "8008", "http://")
	case "pgkeeper+https":
		d.agents, err = addresses(hosts, "8008", "https://")
	case "postgres", "postgresql":
		d.servers, err = addresses(hosts, "5432", "")
	default:
		err = fmt.Errorf("unknown scheme %q: want pgkeeper, pgkeeper+https or postgres", scheme)
	}
	if err != nil {
		return dsn{}, err
	}
	if _, err := pgxpool.ParseConfig(d.at("127.0.0.1:1")); err != nil {
		return dsn{}, errors.New("user, password, database or parameters cannot be read") // pgx's error would name a server nobody wrote
	}
	return d, nil
}

// forOneServer takes out what chooses among servers.
func forOneServer(path string) (string, error) {
	path, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("parameters: %w", err)
	}
	for _, unfit := range []string{"host", "hostaddr", "port"} {
		if values.Has(unfit) {
			return "", fmt.Errorf("the parameter %s cannot be used: write hosts and ports in their place", unfit)
		}
	}
	values.Del("target_session_attrs")
	values.Del("load_balance_hosts")
	if path == "" {
		path = "/"
	}
	if len(values) == 0 {
		return path, nil
	}
	return path + "?" + values.Encode(), nil
}

func addresses(hosts, port, scheme string) ([]string, error) {
	var all []string
	for host := range strings.SplitSeq(hosts, ",") {
		address, err := withPort(strings.TrimSpace(host), port)
		if err != nil {
			return nil, err
		}
		if address = scheme + address; !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, nil
}

func withPort(host, port string) (string, error) {
	h, p, err := net.SplitHostPort(host)
	switch {
	case host == "", err == nil && h == "":
		return "", errors.New("a host is empty")
	case err == nil && p != "":
		return net.JoinHostPort(h, p), nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.Contains(bare, ":") && !strings.HasPrefix(host, "[") {
		return "", fmt.Errorf("host %q: write an IPv6 address in brackets", host)
	}
	return net.JoinHostPort(bare, port), nil
}
