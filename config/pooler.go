package config

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// mostPause is the most that poolers.pgbouncer.pause_timeout may be: the holder of the
// lease waits for poolers 5 s.
const mostPause = 4 * time.Second

// checkPooler wants all that a driven PgBouncer needs, where one is named.
func (l *loader) checkPooler() {
	const section = "poolers.pgbouncer."
	p := &l.PgBouncer
	if p.Admin == "" {
		if p.DatabasesFile != "" || len(p.Databases) > 0 {
			l.wrong(section+"admin", "", "is missing", "write how the console is reached: host=127.0.0.1 port=6432 user=pgkeeper")
		}
		return
	}
	if !filepath.IsAbs(p.DatabasesFile) {
		l.wrong(section+"databases_file", p.DatabasesFile, "must be an absolute path", "write the file that pgbouncer.ini includes, /var/lib/pgkeeper/databases.ini")
	}
	if len(p.Databases) == 0 {
		l.wrong(section+"databases", "", "is missing", "list the databases that the pooler serves")
	}
	for _, name := range append([]string{p.ReadSuffix}, p.Databases...) {
		if name == "" || strings.ContainsFunc(name, notInPooler) {
			l.wrong(section+"databases", name, "is no name that PgBouncer's files can have", "use letters, digits, - and _; read_suffix may not be empty")
		}
	}
	if p.MaxLag < 0 {
		l.wrong(section+"max_lag", strconv.FormatInt(p.MaxLag, 10), "must not be negative", "leave it out for no limit")
	}
	if strings.ContainsAny(p.Parameters, "\n\r") {
		l.wrong(section+"parameters", p.Parameters, "must be one line", "separate the parameters with spaces")
	}
	if p.PauseTimeout <= 0 || p.PauseTimeout > mostPause {
		l.wrong(section+"pause_timeout", p.PauseTimeout.String(), "must be above 0 and at most "+mostPause.String(), "the default is 2")
	}
	if p.MaxHold < p.PauseTimeout {
		l.wrong(section+"max_hold", p.MaxHold.String(), "must not be shorter than pause_timeout", "the default is 30")
	}
}

// notInPooler tells the characters that have a meaning in PgBouncer's files.
func notInPooler(r rune) bool {
	return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
