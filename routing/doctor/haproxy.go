package doctor

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// slow is how long routing may lag behind a change of role before it is worth a word.
const slow = 2 * time.Second

// HAProxy reads a haproxy.cfg. Backends that check nothing like a role and are no PostgreSQL's by their ports are left alone.
func HAProxy(file, text string, l Limits) []Finding {
	f := &findings{file: file}
	all := sections(text)
	guarded := map[string]bool{}
	for _, s := range all {
		for _, d := range s.own {
			for _, m := range tooMany.FindAllStringSubmatch(strings.Join(d.words, " "), -1) {
				guarded[m[1]] = true
			}
		}
		if s.kind == "global" {
			f.global(s)
		}
	}
	for _, s := range all {
		if (s.kind == "backend" || s.kind == "listen") && s.postgres() {
			f.backend(s, all, guarded[s.name], l)
		}
	}
	return f.sorted()
}

// tooMany is a rule that notices two servers up at once.
var tooMany = regexp.MustCompile(`nbsrv\(([^)]+)\) gt 1`)

// rolePaths are the agents' checks of who may be written.
var rolePaths = []string{"/", "/primary", "/master", "/leader", "/read-write", "/read_write"}

// postgres tells a section of this cluster by its checks and its servers' ports.
func (s *section) postgres() bool {
	if _, pgsql := s.first("option", "pgsql-check"); pgsql {
		return true
	}
	for _, server := range s.servers() {
		port := targetOf(server).port
		if strings.HasPrefix(port, "543") || port == "6432" || port == "9999" {
			return true
		}
		if check, ok := server.after("port"); ok && check == "8008" {
			return true
		}
	}
	return false
}

// writes reports whether the section is for writes, by its check or else its name.
func (s *section) writes() bool {
	if uri := s.checkURI(); uri != "" {
		path, _, _ := strings.Cut(uri, "?")
		return slices.Contains(rolePaths, path)
	}
	name := strings.ToLower(s.name)
	return strings.Contains(name, "prim") || strings.Contains(name, "master") || strings.Contains(name, "write") || strings.Contains(name, "rw")
}

type target struct{ host, port string }

func targetOf(server directive) target {
	at := 2
	if server.words[0] == "server-template" {
		at = 3
	}
	if len(server.words) <= at {
		return target{}
	}
	host, port, err := net.SplitHostPort(server.words[at])
	if err != nil {
		return target{host: server.words[at]}
	}
	return target{host, port}
}

func (f *findings) global(s *section) {
	if d, ok := s.first("maxconn"); ok && len(d.words) > 1 {
		if n, err := strconv.Atoi(d.words[1]); err == nil && n <= 100 {
			f.add(Warning, "haproxy_maxconn_small", d.line, "maxconn 1000, and maxconn on the servers, below max_connections",
				"connection %d and all after it wait without a word: maxconn %d is for both ports together", n+1, n)
		}
	}
}

func (f *findings) backend(s *section, all []*section, guarded bool, l Limits) {
	servers := s.servers()
	if len(servers) == 0 {
		return
	}
	f.mode(s)
	if !f.checked(s, servers) {
		return // the rest is about checks that are there
	}
	f.timed(s, servers[0], guarded)
	if s.writes() {
		f.started(s, all, servers, guarded)
	} else {
		f.readers(s, all, servers)
	}
	f.limited(s, servers, l)
	f.complete(s, servers, l)
}

// oneName tells a name that may stand for many servers, and is one to HAProxy.
func oneName(servers []directive) bool {
	return len(servers) == 1 && servers[0].words[0] == "server" && net.ParseIP(targetOf(servers[0]).host) == nil
}

// complete finds members that a backend has no server for.
func (f *findings) complete(s *section, servers []directive, l Limits) {
	if slices.ContainsFunc(servers, func(d directive) bool { return d.words[0] == "server-template" }) || oneName(servers) {
		return // whoever has the name
	}
	lacks := "it serves no reads"
	if s.writes() {
		lacks = "once that is the primary no write arrives"
	}
	for _, m := range l.Members {
		if !slices.ContainsFunc(servers, func(d directive) bool {
			return len(d.words) > 1 && cluster.SlotName(d.words[1]) == cluster.SlotName(m.Name) || m.Host != "" && targetOf(d).host == m.Host
		}) {
			f.add(Error, "haproxy_member_missing", s.line, "a server line for "+m.Name+", in haproxy.state too where there is one (pgkeeper render haproxy --live)",
				"%s %s has no server for the member %s: %s", s.kind, s.name, m.Name, lacks)
		}
	}
}

// mode finds what PostgreSQL's protocol does not go through.
func (f *findings) mode(s *section) {
	if d, ok := s.first("mode"); ok && len(d.words) > 1 && d.words[1] == "http" {
		f.add(Error, "haproxy_mode_http", d.line, "mode tcp", "%s %s speaks HTTP to PostgreSQL, which it does not", s.kind, s.name)
	}
	for _, server := range s.servers() {
		if server.has("ssl") {
			f.add(Error, "haproxy_server_ssl", server.line, "no ssl here: TLS of PostgreSQL goes through as it is; for the checks it is check-ssl",
				"PostgreSQL's TLS begins with a question of its own: a server line with ssl never connects")
		}
		if server.has("send-proxy") || server.has("send-proxy-v2") {
			f.add(Error, "haproxy_send_proxy", server.line, "no send-proxy", "PostgreSQL does not understand the PROXY protocol")
		}
	}
}

// checked finds checks that cannot see the role; false when there is nothing more to say about them.
func (f *findings) checked(s *section, servers []directive) bool {
	const fix = "option httpchk, http-check send meth OPTIONS uri /primary (or /replica), http-check expect status 200, and check port 8008 on the servers"
	if d, ok := s.first("option", "pgsql-check"); ok {
		f.add(Error, "haproxy_pgsql_check", d.line, fix, "pgsql-check proves a login and sees no role: writes reach standbys (%s %s)", s.kind, s.name)
		return false
	}
	for _, server := range servers {
		switch target := targetOf(server); {
		case server.has("agent-check") && !server.has("check"):
			f.add(Error, "haproxy_agent_check_alone", server.line, "check beside agent-check: "+fix,
				"an agent that stops answering changes nothing: its last verdict stands for ever")
			return false
		case !server.has("check"):
			f.add(Error, "haproxy_no_check", server.line, "check port 8008 on the line, and "+fix, "server %s is never checked: it gets connections whatever it is, dead or standby", server.words[1])
			return false
		case s.checkURI() == "" && len(servers) > 1:
			f.add(Error, "haproxy_tcp_check", server.line, fix, "a check that only connects sees no role: writes reach standbys (%s %s)", s.kind, s.name)
			return false
		case s.checkURI() != "" && !server.has("port") && !server.has("addr"):
			f.add(Error, "haproxy_check_port", server.line, "check port 8008", "the check speaks HTTP to port %s, which is PostgreSQL's: server %s is never up", target.port, server.words[1])
			return false
		}
	}
	return true
}

// timed finds checks that lag behind a change of role.
func (f *findings) timed(s *section, server directive, guarded bool) {
	t := timingOf(server)
	const fix = "default-server inter 150ms fastinter 50ms downinter 100ms fall 2 rise 1 on-marked-down shutdown-sessions"
	if t.down() > slow {
		f.add(Warning, "haproxy_slow_checks", server.line, fix, "after a failover %s %s goes on sending to the old server for up to %s, and the new one waits up to %s (inter %s, fall %d, rise %d)",
			s.kind, s.name, t.down(), t.up(), t.inter, t.fall, t.rise)
	}
	if s.writes() && !guarded && t.upSoonest() < t.down() && t.down() > 500*time.Millisecond {
		f.add(Warning, "haproxy_two_up", server.line, "fast checks, and in the frontend: tcp-request connection reject if { nbsrv("+s.name+") gt 1 }",
			"a new primary is up after %s, the old one down only after %s: in between every other connection goes to the wrong server", t.upSoonest(), t.down())
	}
	if !server.has("shutdown-sessions") {
		f.add(Warning, "haproxy_sessions_stay", server.line, "on-marked-down shutdown-sessions", "sessions on a server that lost its role stay open: they hang, or are told at the next write that it is read-only")
	}
	if d, ok := s.first("timeout", "check"); ok && len(d.words) > 2 {
		if limit, ok := duration(d.words[2]); ok && limit > slow {
			f.add(Warning, "haproxy_timeout_check", d.line, "timeout check 1s", "a machine that is gone answers nothing: each check of it takes %s, %d of them until it is down", limit, t.fall)
		}
	}
}

// started finds a configuration that trusts every server at first.
func (f *findings) started(s *section, all []*section, servers []directive, guarded bool) {
	safe := guarded
	for _, other := range all {
		_, file := other.first("server-state-file")
		_, load := other.first("load-server-state-from-file")
		safe = safe || file || load
	}
	for _, server := range servers {
		if init, ok := server.after("init-state"); ok && init == "down" {
			safe = true
		}
		safe = safe || server.has("disabled")
	}
	if !safe {
		f.add(Error, "haproxy_trusts_at_start", s.line, "deploy/haproxy: a server-state-file that says DOWN (from HAProxy 3.1 on: default-server init-state down), and reject while nbsrv is above 1",
			"after each start and reload every server counts as up until its first check has failed: standbys get writes for up to %s", timingOf(servers[0]).inter)
	}
}

// readers finds reads that end with the last replica, or go to one name for many.
func (f *findings) readers(s *section, all []*section, servers []directive) {
	path, _, _ := strings.Cut(s.checkURI(), "?")
	fallback := path == "/read-only" || slices.ContainsFunc(servers, func(d directive) bool { return d.has("backup") })
	for _, other := range all {
		for _, d := range other.own {
			fallback = fallback || strings.Contains(strings.Join(d.words, " "), "nbsrv("+s.name+")")
		}
	}
	if !fallback {
		f.add(Warning, "haproxy_no_fallback", s.line, "use_backend "+s.name+" if { nbsrv("+s.name+") gt 0 } and the primary as default_backend, or the check /read-only",
			"when no replica is left, reads fail although the primary could serve them")
	}
	if oneName(servers) {
		f.add(Warning, "haproxy_one_name", servers[0].line, "server-template with resolvers, or one server line for each replica",
			"%s is one server to HAProxy, however many replicas the name stands for: one of them is checked, and its failure takes all away", targetOf(servers[0]).host)
	}
}

// limited finds limits that PostgreSQL reaches first, and idle sessions cut.
func (f *findings) limited(s *section, servers []directive, l Limits) {
	if text, ok := servers[0].after("maxconn"); ok {
		if n, err := strconv.Atoi(text); err == nil && n > l.Usable() {
			f.add(Warning, "haproxy_server_maxconn", servers[0].line, "maxconn "+strconv.Itoa(l.Usable()),
				"maxconn %d of a server is above what max_connections %d leaves (%d): the rest is refused by PostgreSQL instead of waiting", n, l.MaxConnections, l.Usable())
		}
	}
	for _, side := range []string{"client", "server"} {
		d, ok := s.first("timeout", side)
		if !ok || len(d.words) < 3 {
			continue
		}
		if limit, ok := duration(d.words[2]); ok && limit < time.Hour {
			f.add(Warning, "haproxy_idle_timeout", d.line, "timeout "+side+" 24h with option clitcpka and option srvtcpka",
				"connections that idle for %s are cut, those of a pool too: it finds out when it uses them", limit)
		}
	}
}
