package deploy

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

//go:embed haproxy/haproxy.cfg.tmpl
var haproxyConfig string

//go:embed haproxy/haproxy.state.tmpl
var haproxyState string

// HAProxyHold is hold.lua, which belongs to a configuration with Hold set.
//
//go:embed haproxy/hold.lua
var HAProxyHold []byte

// Server is one member as HAProxy sees it.
type Server struct {
	// Name is the member's name. It ties a line of the configuration to its line in the state file.
	Name string
	// Addr is the host or address of both PostgreSQL and the REST API.
	Addr string
	// Port is PostgreSQL's port, CheckPort the REST API's.
	Port, CheckPort int
	// CheckTLS: the REST API has a certificate. It is not verified: HAProxy asks for a status and tells nothing.
	CheckTLS bool
}

// Target is the server's host and port as HAProxy writes them.
func (s Server) Target() string { return net.JoinHostPort(s.Addr, strconv.Itoa(s.Port)) }

// HAProxyParams are the holes in the HAProxy template. Start from DefaultHAProxyParams.
type HAProxyParams struct {
	Servers []Server
	// Primary, Replica and Stats are the addresses to listen on, "host:port" with * for every address.
	// An empty Stats leaves the status page out.
	Primary, Replica, Stats string
	// StateFile is where HAProxy will find the state file at every start. Without it servers count as up at start.
	StateFile string
	// Socket is the path of the runtime API's unix socket; empty leaves it out.
	Socket string
	// User and Group are whom HAProxy becomes when started by root; empty stays who it is.
	User, Group string
	// Chroot is the directory HAProxy locks itself into when started by root; empty does not.
	Chroot string
	// Log is HAProxy's log target with its facility.
	Log string
	// MaxConn bounds all client connections, ServerMaxConn those to one server: keep it below PostgreSQL's
	// max_connections, so that the agent and a superuser still get in. What comes beyond waits in a queue.
	MaxConn, ServerMaxConn int
	// Hold is where HAProxy finds hold.lua (HAProxyHold). It lets new connections wait for a primary, for HoldSeconds
	// and HoldMost of a frontend at once, where they would fail; empty, or a HAProxy without Lua, does without.
	Hold                  string
	HoldSeconds, HoldMost int
}

// InspectSeconds is how long HAProxy lets its rules take: a little longer than a hold.
func (p HAProxyParams) InspectSeconds() int { return p.HoldSeconds + 2 }

// DefaultHAProxyParams are those of the shipped haproxy.cfg: Debian's paths, three members, PostgreSQL's default
// max_connections of 100.
func DefaultHAProxyParams() HAProxyParams {
	return HAProxyParams{
		Servers: []Server{
			{Name: "pg1", Addr: "192.0.2.11", Port: 5432, CheckPort: 8008},
			{Name: "pg2", Addr: "192.0.2.12", Port: 5432, CheckPort: 8008},
			{Name: "pg3", Addr: "192.0.2.13", Port: 5432, CheckPort: 8008},
		},
		Primary:       "*:5000",
		Replica:       "*:5001",
		Stats:         "*:7000",
		StateFile:     "/etc/haproxy/haproxy.state",
		Socket:        "/run/haproxy/admin.sock",
		User:          "haproxy",
		Group:         "haproxy",
		Chroot:        "/var/lib/haproxy",
		Log:           "/dev/log local0",
		MaxConn:       1000,
		ServerMaxConn: 90,
		Hold:          "/etc/haproxy/hold.lua",
		HoldSeconds:   30,
		HoldMost:      500,
	}
}

// HAProxyConfig renders haproxy.cfg and the state file that belongs to it. The caller writes the state file to
// p.StateFile before HAProxy starts, and writes both again whenever a member comes or goes.
func HAProxyConfig(p HAProxyParams) (config, state []byte, err error) {
	if err := p.validate(); err != nil {
		return nil, nil, fmt.Errorf("render the HAProxy configuration: %w", err)
	}
	if config, err = render("haproxy.cfg", haproxyConfig, p); err != nil {
		return nil, nil, err
	}
	if state, err = render("haproxy.state", haproxyState, p); err != nil {
		return nil, nil, err
	}
	return config, state, nil
}

// Write writes what HAProxyConfig renders, and hold.lua where it is wanted, into dir, and returns the path of haproxy.cfg.
// StateFile and Hold are set to the files there.
func (p HAProxyParams) Write(dir string) (path string, err error) {
	p.StateFile = filepath.Join(dir, "haproxy.state")
	files := map[string][]byte{}
	if p.Hold != "" {
		p.Hold = filepath.Join(dir, "hold.lua")
		files[p.Hold] = HAProxyHold
	}
	path = filepath.Join(dir, "haproxy.cfg")
	if files[path], files[p.StateFile], err = HAProxyConfig(p); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return "", fmt.Errorf("write HAProxy's files: %w", err)
		}
	}
	return path, nil
}

func render(name, text string, data any) ([]byte, error) {
	tmpl, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse the template of %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// word is what HAProxy takes as one argument without quoting, which is also what a name may look like to it.
var word = regexp.MustCompile(`^[A-Za-z0-9_.:*@/\[\]-]+$`)

func (p HAProxyParams) validate() error {
	if len(p.Servers) == 0 {
		return fmt.Errorf("no servers: name at least one member")
	}
	if p.MaxConn < 1 || p.ServerMaxConn < 1 {
		return fmt.Errorf("maxconn %d and server maxconn %d must both be at least 1", p.MaxConn, p.ServerMaxConn)
	}
	if p.StateFile == "" {
		return fmt.Errorf("no state file: without one HAProxy takes every server for up when it starts")
	}
	for _, value := range []string{p.Primary, p.Replica, p.StateFile} {
		if !word.MatchString(value) {
			return fmt.Errorf("%q is not one word that HAProxy can read", value)
		}
	}
	if p.Hold != "" && (p.HoldSeconds < 1 || p.HoldMost < 1) {
		return fmt.Errorf("connections are to be held for %d s, %d at once: both must be at least 1", p.HoldSeconds, p.HoldMost)
	}
	for _, value := range []string{p.Hold, p.Stats, p.Socket, p.User, p.Group, p.Chroot} {
		if value != "" && !word.MatchString(value) {
			return fmt.Errorf("%q is not one word that HAProxy can read", value)
		}
	}
	if strings.ContainsAny(p.Log, "\r\n") {
		return fmt.Errorf("the log target %q has more than one line", p.Log)
	}
	return validateServers(p.Servers)
}

func validateServers(servers []Server) error {
	seen := map[string]bool{}
	for _, s := range servers {
		switch {
		case !word.MatchString(s.Name):
			return fmt.Errorf("the member name %q cannot be a server name in HAProxy: use letters, digits and _ . : -", s.Name)
		case seen[s.Name]:
			return fmt.Errorf("two servers are named %q", s.Name)
		case !word.MatchString(s.Addr):
			return fmt.Errorf("member %s: %q is no host or address", s.Name, s.Addr)
		case s.Port < 1 || s.Port > 65535 || s.CheckPort < 1 || s.CheckPort > 65535:
			return fmt.Errorf("member %s: ports %d and %d must be between 1 and 65535", s.Name, s.Port, s.CheckPort)
		}
		seen[s.Name] = true
	}
	return nil
}
