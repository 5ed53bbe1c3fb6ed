package config

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// finish fills what other values imply and checks what one value alone cannot
// show.
func (l *loader) finish() {
	l.checkStore()
	l.Namespace = strings.Trim(l.Namespace, "/")
	l.checkName("namespace", strings.ReplaceAll(l.Namespace, "/", ""), 255, false)
	l.checkName("scope", l.Scope, 255, l.member)
	l.checkName("name", l.Name, 63, l.member)
	l.checkPostgreSQL()
	l.checkREST()
	l.checkTags()
	l.checkDirectories()
	l.checkPooler()
	l.fillCtl()
	l.replicaMethods()
	for i := range l.problems {
		if l.problems[i].File == "" {
			l.problems[i].File = l.file
		}
	}
}

// at is where a key was written, else the document.
func (l *loader) at(key string) Position {
	if pos, ok := l.origins[key]; ok {
		return pos
	}
	return Position{File: l.file}
}

// wrong reports an error about a key's value.
func (l *loader) wrong(key, value, rule, fix string) {
	l.add(Error, l.at(key), key, value, rule, fix)
}

// named reports a key that a problem names already, so that a value that could
// not be read is not called missing as well.
func (l *loader) named(key string) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Key == key || p.Key == key+"_file" })
}

// checkName holds for what becomes part of a key in the store.
func (l *loader) checkName(key, value string, longest int, required bool) {
	switch {
	case value == "" && !required:
	case value == "" && l.named(key):
	case value == "":
		l.wrong(key, "", "is missing", "write "+key+": ..., or set PGKEEPER_"+strings.ToUpper(key))
	case strings.ContainsFunc(value, func(r rune) bool { return r == '/' || unicode.IsControl(r) }) || strings.TrimSpace(value) != value:
		l.wrong(key, value, "must not contain a slash, a control character or space at its ends", "use letters, digits, - and _")
	case value == "." || value == "..":
		l.wrong(key, value, "must be a name", "use letters, digits, - and _")
	case len(value) > longest:
		l.wrong(key, value, "is longer than PostgreSQL or the store can keep", "shorten it")
	case key == "name" && len(value) > 63-len("pgkeeper_clone_"):
		l.add(Warning, l.at(key), key, value, "is so long that PostgreSQL cuts pgkeeper_clone_<name>", "48 bytes are enough")
	case key == "name" && strings.ContainsFunc(value, notASCII):
		l.add(Warning, l.at(key), key, value, "is shown by PostgreSQL with other letters in place of those that are not ASCII: such a member is never a synchronous standby", "use letters of ASCII, digits, - and _")
	}
}

func notASCII(r rune) bool { return r > unicode.MaxASCII }

// address checks one key that names a host and a port, and gives it in one form.
func (l *loader) address(key string, value *string, port int) bool {
	if *value == "" {
		return false
	}
	hosts, port, err := splitAddress(*value, port)
	switch {
	case err != nil:
		l.wrong(key, *value, err.Error(), "write it as host:port")
	case len(hosts) != 1:
		l.wrong(key, *value, "must be one address", "keep the one others connect to")
	case wildcard(hosts[0]):
		l.wrong(key, *value, "is no address anybody can connect to", "write the address or name of this machine")
	default:
		*value = hostPort(hosts[0], port)
		return true
	}
	return false
}

// reachable fills a connect address from what is listened on.
func (l *loader) reachable(listenKey, connectKey string, hosts []string, port int, connect *string) {
	if *connect != "" || len(hosts) == 0 {
		return
	}
	if wildcard(hosts[0]) {
		l.add(Error, l.at(listenKey), connectKey, hosts[0], "is missing, and nobody can connect to the address in "+listenKey, "write "+connectKey+": <address of this machine>:"+strconv.Itoa(port))
		return
	}
	*connect = hostPort(hosts[0], port)
}

func (l *loader) checkPostgreSQL() {
	p := &l.PostgreSQL
	hosts, port, err := splitAddress(p.Listen, 5432)
	if err != nil {
		l.wrong("postgresql.listen", p.Listen, err.Error(), "write it as address:port or a,b:port")
		port = 5432
	} else {
		p.Listen = strings.Join(hosts, ",") + ":" + strconv.Itoa(port)
		if l.member {
			l.reachable("postgresql.listen", "postgresql.connect_address", hosts, port, &p.ConnectAddress)
		}
	}
	l.address("postgresql.connect_address", &p.ConnectAddress, port)
	l.address("postgresql.proxy_address", &p.ProxyAddress, 5432)
	for _, name := range ForcedParameters {
		if _, set := p.Parameters[name]; set {
			pos := l.at("postgresql.parameters")
			if n := l.root.at("postgresql.parameters").get(name); n != nil {
				pos = n.pos
			}
			l.add(Warning, pos, "postgresql.parameters."+name, "", "has no effect here: it must be equal on all members", forcedFix(name))
		}
	}
	if p.User == "" && os.Geteuid() == 0 {
		p.User = "postgres"
	}
	if strings.ContainsAny(p.User, ":/ \t") {
		l.wrong("pgkeeper.os_user", p.User, "must be the name of an operating system user", "")
	}
}

func forcedFix(name string) string {
	switch name {
	case "listen_addresses", "port":
		return "use postgresql.listen"
	case "cluster_name":
		return "it is always the scope"
	}
	return "set it for the cluster: pgkeeper edit-config -p " + name + "=..."
}

func (l *loader) checkREST() {
	r := &l.RESTAPI
	hosts, port, err := splitAddress(r.Listen, 8008)
	switch {
	case err != nil:
		l.wrong("restapi.listen", r.Listen, err.Error(), "write it as address:port")
	case len(hosts) != 1:
		l.wrong("restapi.listen", r.Listen, "must be one address", "listen on one, or on * for all")
	default:
		listen := hosts[0]
		if listen == "*" {
			listen = ""
		}
		r.Listen = hostPort(listen, port)
		if l.member {
			l.reachable("restapi.listen", "restapi.connect_address", hosts, port, &r.ConnectAddress)
			l.checkReach()
		}
		if l.member && port == l.PostgreSQL.Port() && slices.ContainsFunc(l.PostgreSQL.ListenHosts(), func(h string) bool { return h == hosts[0] || wildcard(h) || wildcard(hosts[0]) }) {
			l.wrong("restapi.listen", r.Listen, "is the address PostgreSQL listens on", "give one of them another port")
		}
	}
	l.address("restapi.connect_address", &r.ConnectAddress, 8008)
	l.checkTLS()
	l.checkPair("restapi.authentication", r.Authentication)
	l.checkPair("ctl.authentication", l.Ctl.Authentication)
}

// checkReach warns of an API that only this machine reaches while the server is
// for others.
func (l *loader) checkReach() {
	rest, _, restErr := splitAddress(l.RESTAPI.ConnectAddress, 8008)
	server, _, serverErr := splitAddress(l.PostgreSQL.ConnectAddress, 5432)
	if restErr == nil && serverErr == nil && loopback(rest[0]) && !loopback(server[0]) {
		l.add(Warning, l.at("restapi.listen"), "restapi.listen", l.RESTAPI.Listen, "cannot be reached from other machines, where load balancers and members ask it", "write restapi.listen: "+hostPort(server[0], 8008))
	}
}

func (l *loader) checkTLS() {
	r := &l.RESTAPI
	switch {
	case r.CertFile == "" && r.KeyFile != "":
		l.wrong("restapi.keyfile", r.KeyFile, "has no certificate", "write restapi.certfile")
	case r.VerifyClient != "none" && r.CAFile == "":
		l.wrong("restapi.verify_client", r.VerifyClient, "needs certificates to check clients against", "write restapi.cafile")
	case r.VerifyClient != "none" && r.CertFile == "":
		l.wrong("restapi.verify_client", r.VerifyClient, "needs TLS", "write restapi.certfile")
	}
}

func (l *loader) checkPair(key string, c Credentials) {
	if (c.Username == "") == (c.Password == "") {
		return
	}
	missing, present := "password", "username"
	if c.Username == "" {
		missing, present = present, missing
	}
	if l.named(key + "." + missing) {
		return
	}
	l.wrong(key+"."+missing, "", "is missing, and "+present+" is set", "write both or none")
	l.problems[len(l.problems)-1].Position = l.at(key + "." + present)
}

func (l *loader) checkTags() {
	if l.Tags.Bool("nostream") {
		l.add(Warning, l.at("tags"), "tags.nostream", "true", "is not built: this member streams like any other", "remove it, or leave the member to Patroni")
	}
	for _, pair := range [][2]string{{"nofailover", "failover_priority"}, {"nosync", "sync_priority"}} {
		_, set := l.Tags[pair[0]]
		_, ranked := l.Tags[pair[1]]
		if set && ranked && l.Tags.Bool(pair[0]) == (l.Tags.Number(pair[1], 1) > 0) {
			pos := l.at("tags")
			if n := l.root.at("tags").get(pair[1]); n != nil {
				pos = n.pos
			}
			l.add(Warning, pos, "tags."+pair[1], "", "contradicts "+pair[0]+", which holds", "keep one of the two")
		}
	}
}

// fillCtl lets the command line use the API's own credentials.
func (l *loader) fillCtl() {
	c, r := &l.Ctl, &l.RESTAPI
	if c.Authentication == (Credentials{}) {
		c.Authentication = r.Authentication
	}
	if c.CACert == "" {
		c.CACert = r.CAFile
	}
	if c.CertFile == "" {
		c.CertFile, c.KeyFile, c.KeyFilePassword = r.CertFile, r.KeyFile, r.KeyFilePassword
	}
}

// replicaMethods collects the sections that custom methods are configured in.
func (l *loader) replicaMethods() {
	for _, method := range l.PostgreSQL.CreateReplicaMethods {
		n := l.root.at("postgresql").get(method)
		if method == "basebackup" || n == nil {
			continue
		}
		values, faults := mapping(n)
		for _, f := range faults {
			l.add(Error, f.at.pos, "postgresql."+method+"."+f.key, "", f.rule, f.fix)
		}
		if l.PostgreSQL.ReplicaMethods == nil {
			l.PostgreSQL.ReplicaMethods = map[string]map[string]string{}
		}
		l.PostgreSQL.ReplicaMethods[method] = values
	}
}

// longestDir leaves room for a socket's name: the kernel takes 108 bytes.
const longestDir = 85

func (l *loader) checkDirectories() {
	p, k := &l.PostgreSQL, &l.Keeper
	if p.DataDir == "" && l.member {
		if !l.named("postgresql.data_dir") {
			l.wrong("postgresql.data_dir", "", "is missing", "write postgresql.data_dir: /var/lib/postgresql/<version>/<name>")
		}
	}
	l.absolute("postgresql.data_dir", &p.DataDir)
	l.absolute("postgresql.config_dir", &p.ConfigDir)
	l.absolute("postgresql.bin_dir", &p.BinDir)
	l.absolute("postgresql.pgpass", &p.PgPass)
	l.absolute("pgkeeper.state_dir", &k.StateDir)
	l.absolute("pgkeeper.runtime_dir", &k.RuntimeDir)
	if p.DataDir == "/" {
		l.wrong("postgresql.data_dir", "/", "must be a directory of its own", "write postgresql.data_dir: /var/lib/postgresql/<version>/<name>")
	}
	if p.DataDir != "" && p.DataDir != "/" {
		fill(&p.ConfigDir, p.DataDir)
		fill(&k.StateDir, p.DataDir+".pgkeeper")
		fill(&p.PgPass, filepath.Join(k.StateDir, "pgpass"))
		if within(k.StateDir, p.DataDir) {
			l.wrong("pgkeeper.state_dir", k.StateDir, "must not be inside the data directory, which a new copy replaces", "put it beside: "+p.DataDir+".pgkeeper")
		}
	}
	fill(&k.RuntimeDir, l.runtimeDir())
	if l.member && len(k.RuntimeDir) > longestDir {
		l.wrong("pgkeeper.runtime_dir", k.RuntimeDir, "is too long for the path of a socket", "name a folder of at most 85 bytes")
	}
}

func fill(value *string, fallback string) {
	if *value == "" {
		*value = fallback
	}
}

func within(dir, parent string) bool {
	rel, err := filepath.Rel(parent, dir)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// absolute makes a path independent of the directory the agent was started in.
func (l *loader) absolute(key string, path *string) {
	if *path == "" {
		return
	}
	if filepath.IsAbs(*path) {
		*path = filepath.Clean(*path)
		return
	}
	whole, err := filepath.Abs(*path)
	if err != nil {
		l.wrong(key, *path, "must be an absolute path", "begin it with /")
		return
	}
	l.add(Warning, l.at(key), key, *path, "is not an absolute path and is read from the directory the agent is started in", "write an absolute path")
	*path = whole
}

func (l *loader) runtimeDir() string {
	member := l.Scope + "-" + l.Name
	if os.Geteuid() == 0 {
		return filepath.Join("/run/pgkeeper", member)
	}
	// systemd's RuntimeDirectory=, of which there may be several.
	if dir, _, _ := strings.Cut(l.env["RUNTIME_DIRECTORY"], ":"); dir != "" {
		return filepath.Join(dir, member)
	}
	if dir := l.env["XDG_RUNTIME_DIR"]; dir != "" {
		return filepath.Join(dir, "pgkeeper", member)
	}
	temp := l.env["TMPDIR"]
	if temp == "" {
		temp = "/tmp"
	}
	return filepath.Join(temp, "pgkeeper-"+strconv.Itoa(os.Geteuid()), member)
}
