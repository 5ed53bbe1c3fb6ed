package postgres

import (
	"slices"
	"strings"
)

// withOurLines adds to a configured pg_hba.conf the lines without which we could
// not look at our own server: many a configuration has lines for hosts only, and
// looks go through the unix socket. Lines that let us in already are enough.
// The method md5 takes passwords stored either way, and is SCRAM for those that
// are stored so.
func (s *Server) withOurLines(hba []string) []string {
	if len(hba) == 0 {
		return nil
	}
	method := "md5"
	if s.o.Superuser.Password == "" {
		method = "peer"
	}
	var ours []string
	for _, database := range []string{"all", "replication"} {
		if !s.letsUsIn(hba, database) {
			ours = append(ours, "local "+database+" "+quoteHBA(s.o.Superuser.Username)+" "+method+" # pgkeeper itself")
		}
	}
	return slices.Concat(ours, hba)
}

// letsUsIn tells whether some line covers our own connections. What the method is
// does not matter: that is the user's word.
func (s *Server) letsUsIn(hba []string, database string) bool {
	return slices.ContainsFunc(hba, func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) >= 4 && fields[0] == "local" &&
			listHas(fields[1], database, s.databaseFor(database)) && listHas(fields[2], "all", s.o.Superuser.Username)
	})
}

// databaseFor: "all" is also served by a line for the one database we use, while
// replication is never covered by "all".
func (s *Server) databaseFor(database string) string {
	if database == "all" {
		return s.o.Database
	}
	return database
}

// listHas looks for one of the words in a comma-separated field.
func listHas(field string, words ...string) bool {
	return slices.ContainsFunc(strings.Split(field, ","), func(item string) bool {
		return slices.Contains(words, strings.Trim(item, `"`))
	})
}

// quoteHBA quotes a name, so that it is never taken for a keyword.
func quoteHBA(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
