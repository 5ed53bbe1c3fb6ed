package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// PgBouncerFile is a pgbouncer.ini, with the texts of the files it includes by the name it includes them by.
type PgBouncerFile struct {
	Name, Text string
	Included   map[string]string
}

// PgBouncers reads the files of all poolers. Their pools are counted together: all of them may lead to one server.
func PgBouncers(files []PgBouncerFile, l Limits) []Finding {
	var read []*findings
	var each []pools
	var all pools
	for _, file := range files {
		f := &findings{file: file.Name}
		p := f.pgbouncer(file, l)
		read, each = append(read, f), append(each, p)
		all.count, all.sum = all.count+p.count, all.sum+p.sum
	}
	var found []Finding
	for i, f := range read {
		f.poolsFit(each[i], all, len(files), l)
		found = append(found, f.sorted()...)
	}
	return found
}

// pools are the databases of a pooler, and how many connections they may open.
type pools struct {
	count, sum int
	// line is the last of them.
	line int
}

// pgbouncer reads one file.
func (f *findings) pgbouncer(file PgBouncerFile, l Limits) pools {
	all := settings(file.Text)
	for i, line := range strings.Split(file.Text, "\n") {
		name, is := strings.CutPrefix(strings.TrimSpace(line), "%include")
		if !is {
			continue
		}
		if name = strings.TrimSpace(name); file.Included[name] == "" {
			f.add(Warning, "pgbouncer_include_missing", i+1, "create it, readable by PgBouncer", "%s was not found or is empty: what it holds was not looked at", name)
			continue
		}
		all = append(all, includedSettings(file.Included[name], i+1)...)
	}
	f.retries(all)
	f.pooling(all)
	f.auth(all)
	if driven(file.Included) {
		l.Members = nil // an agent writes their hosts, and again when the primary moves
	}
	return f.databases(all, l)
}

// poolsFit finds pools that one server cannot take.
func (f *findings) poolsFit(p, all pools, files int, l Limits) {
	sum := all.sum * l.poolers()
	if p.count == 0 || sum <= l.Usable() {
		return
	}
	poolers := ""
	if n := files * l.poolers(); n > 1 {
		poolers = fmt.Sprintf(" in %d poolers", n)
	}
	f.add(Error, "pgbouncer_pools_too_large", p.line, "default_pool_size = "+strconv.Itoa(max(l.Usable()/(all.count*l.poolers()), 1)),
		"the pools of %d databases%s may open %d connections for each user, and max_connections %d leaves %d: when no replica is left all of them lead to one server", all.count, poolers, sum, l.MaxConnections, l.Usable())
}

// driven reports whether an agent with poolers.pgbouncer writes one of the files.
func driven(included map[string]string) bool {
	for _, text := range included {
		if strings.Contains(text, "Written by the pgkeeper agent") {
			return true
		}
	}
	return false
}

// includedSettings stand where the file is included: in [databases], unless it has sections itself.
func includedSettings(text string, line int) []setting {
	all := settings(text)
	for i := range all {
		all[i].line = line
		if all[i].section == "" {
			all[i].section = "databases"
		}
	}
	return all
}

// retries finds how long PgBouncer goes on failing after the cluster is well again.
func (f *findings) retries(all []setting) {
	const fix = "server_login_retry = 0.5"
	s, written := last(all, "pgbouncer", "server_login_retry")
	seconds, err := strconv.ParseFloat(s.value, 64)
	switch {
	case !written:
		f.add(Error, "pgbouncer_login_retry", 0, fix, "server_login_retry is 15 s unless set: so long every client is answered with the last failure after one failed login, also after a RELOAD to a healthy server")
	case err == nil && seconds > 1:
		f.add(Error, "pgbouncer_login_retry", s.line, fix, "for %s s after one failed login every client is answered with that failure, also after a RELOAD to a healthy server", s.value)
	}
	if s, written := last(all, "pgbouncer", "server_connect_timeout"); !written {
		f.add(Warning, "pgbouncer_connect_timeout", 0, "server_connect_timeout = 2", "a host that is gone answers nothing: each attempt takes 15 s unless server_connect_timeout is set")
	} else if seconds, err := strconv.ParseFloat(s.value, 64); err == nil && seconds > 5 {
		f.add(Warning, "pgbouncer_connect_timeout", s.line, "server_connect_timeout = 2", "a host that is gone answers nothing: each attempt takes %s s", s.value)
	}
	if s, _ := last(all, "pgbouncer", "query_wait_timeout"); s.value == "0" {
		f.add(Warning, "pgbouncer_wait_forever", s.line, "query_wait_timeout = 30", "queries wait without end while no server can be had, in a failover too")
	}
}

func (f *findings) pooling(all []setting) {
	s, written := last(all, "pgbouncer", "pool_mode")
	if !written || s.value == "session" {
		f.add(Warning, "pgbouncer_session_mode", s.line, "pool_mode = transaction", "in session mode (the default) a PAUSE waits for clients to go away: a switchover is seen by every one of them")
	}
	if s.value == "statement" {
		f.add(Warning, "pgbouncer_statement_mode", s.line, "pool_mode = transaction", "in statement mode transactions of more than one statement are refused")
	}
}

func (f *findings) auth(all []setting) {
	switch s, _ := last(all, "pgbouncer", "auth_type"); s.value {
	case "trust", "any":
		f.add(Error, "pgbouncer_auth_open", s.line, "auth_type = scram-sha-256", "auth_type %s lets anybody in as anybody", s.value)
	case "", "md5", "plain":
		f.add(Note, "pgbouncer_auth_weak", s.line, "auth_type = scram-sha-256", "auth_type %s: passwords that are stored as md5, or sent as they are, are taken too", orDefault(s.value, "is md5 unless set"))
	}
	query, written := last(all, "pgbouncer", "auth_query")
	lower := strings.ToLower(query.value)
	if written && (strings.Contains(lower, "pg_shadow") || strings.Contains(lower, "pg_authid")) && !strings.Contains(lower, "valuntil") && !strings.Contains(lower, "rolvaliduntil") {
		f.add(Warning, "pgbouncer_auth_query_expired", query.line, "a function as in deploy/pgbouncer/auth.sql", "the query lets in users whose password has run out (VALID UNTIL), and needs a superuser: see CVE-2025-2291")
	}
	if _, user := last(all, "pgbouncer", "auth_user"); written && !user {
		f.add(Error, "pgbouncer_auth_user", query.line, "auth_user = pgbouncer_auth, with its password in auth_file", "auth_query is never run without auth_user")
	}
}

func orDefault(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// databases finds hosts that do not follow the primary, and counts the pools.
func (f *findings) databases(all []setting, l Limits) pools {
	var p pools
	reads := false
	standard := number(all, "default_pool_size", 20) + number(all, "reserve_pool_size", 0)
	perDatabase := number(all, "max_db_connections", 0)
	for _, s := range all {
		if s.section != "databases" {
			continue
		}
		options := words(s.value)
		reads = reads || strings.HasSuffix(s.name, "_ro") || strings.Contains(s.name, "read") || strings.Contains(s.name, "replica")
		size := standard
		if n, err := strconv.Atoi(options["pool_size"]); err == nil {
			size = n
		}
		if perDatabase > 0 {
			size = min(size, perDatabase)
		}
		p = pools{count: p.count + 1, sum: p.sum + size, line: s.line}
		host := options["host"]
		switch {
		case strings.Contains(host, ",") && !readOnlyName(s.name):
			f.add(Error, "pgbouncer_host_list", s.line, "host = HAProxy, or one host that pgkeeper rewrites", "PgBouncer takes the hosts of %s in turn and does not ask who is primary: writes reach standbys", s.name)
		case l.reaches(host) && !readOnlyName(s.name):
			f.add(Warning, "pgbouncer_fixed_host", s.line, "host = HAProxy with port 5000", "%s goes to the member %s itself: after a failover that is a standby, or gone", s.name, host)
		}
	}
	if p.count > 0 && !reads {
		f.add(Note, "pgbouncer_no_reads", p.line, "app_ro = host=HAProxy port=5001 dbname=app", "no database here is for reads: standbys get none through this pooler")
	}
	return p
}

func readOnlyName(name string) bool {
	return strings.HasSuffix(name, "_ro") || strings.Contains(name, "read") || strings.Contains(name, "replica")
}

func number(all []setting, name string, standard int) int {
	if s, ok := last(all, "pgbouncer", name); ok {
		if n, err := strconv.Atoi(s.value); err == nil {
			return n
		}
	}
	return standard
}

// words are the options of a connection string, without the quoting that hosts and numbers never need.
func words(text string) map[string]string {
	options := map[string]string{}
	for word := range strings.FieldsSeq(text) {
		if name, value, found := strings.Cut(word, "="); found {
			options[name] = strings.Trim(value, "'")
		}
	}
	return options
}
