package postgres

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// nameLocally names tables that were made in the abandoned WAL itself. Only the
// catalog that goes with them knows them, so it is asked before the rewind, by a
// stand-alone backend: the server is recovered and stopped, and the tombstone
// stands. It is a courtesy, and what it does not find stays a number.
func (s *Server) nameLocally(ctx context.Context, lock *os.File, id string) {
	if id == "" {
		return
	}
	lost, err := s.readLost(id)
	if err != nil {
		s.o.Log.Debug("tables of lost transactions not named", "error", err)
		return
	}
	ask := map[string][]string{}
	for _, t := range lost.Tables {
		if t.Created && t.Name == "" && t.Database != "" {
			ask[t.Database] = append(ask[t.Database], t.Relation)
		}
	}
	if len(ask) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesLimit)
	defer cancel()
	known := map[string]string{}
	for _, database := range slices.Sorted(maps.Keys(ask)) {
		out, err := s.standAlone(ctx, lock, database, localNames(ask[database]))
		if err != nil {
			s.o.Log.Debug("tables of lost transactions not named", "error", err)
			break
		}
		readLocalNames(out, known)
	}
	lost.Tables = slices.DeleteFunc(lost.Tables, func(t cluster.LostTable) bool { return known[t.Relation] == internalName })
	for i := range lost.Tables {
		if name := known[lost.Tables[i].Relation]; name != "" {
			lost.Tables[i].Name = name
		}
	}
	if err := s.putLost(lost); err != nil {
		s.o.Log.Debug("tables of lost transactions not named", "error", err)
	}
}

// internalName stands for what is no table of a user's.
const internalName = "-"

// localNames is a statement in one line, as a stand-alone backend takes it, whose
// rows are "relation name". The relations are numbers and slashes.
func localNames(relations []string) string {
	var values []string
	for _, relation := range relations {
		if parts := strings.Split(relation, "/"); len(parts) == 3 {
			values = append(values, fmt.Sprintf("(%s, %s, %s)", quoteLiteral(relation), quoteLiteral(parts[0]), quoteLiteral(parts[2])))
		}
	}
	return "select v.r || ' ' || case when c.relkind = 't' or n.nspname in ('pg_catalog', 'information_schema') then '" + internalName +
		"' else n.nspname || '.' || c.relname end as lost from (values " + strings.Join(values, ", ") + ") v(r, t, f)" +
		" join pg_catalog.pg_class c on c.oid = pg_catalog.pg_filenode_relation(v.t::oid, v.f::oid) join pg_catalog.pg_namespace n on n.oid = c.relnamespace\n"
}

// localName is a row that a stand-alone backend prints: 1: lost = "..." (typeid = ...
var localName = regexp.MustCompile(`\blost = "(\d+/\d+/\d+) (.*)"\t\(typeid = `)

func readLocalNames(out string, into map[string]string) {
	for line := range strings.Lines(out) {
		if row := localName.FindStringSubmatch(line); row != nil {
			into[row[1]] = row[2]
		}
	}
}

// standAlone runs a stand-alone backend on the stopped server, with nothing recycled.
func (s *Server) standAlone(ctx context.Context, lock *os.File, database, stdin string) (stdout string, err error) {
	args := []string{"--single", "-F", "-D", s.o.DataDir, "-c", "config_file=" + s.conf(confName), "-c", "data_directory=" + s.o.DataDir}
	err = s.owner.do(func() error {
		forced, err := s.lastForced()
		for _, name := range sortedKeys(forced) {
			args = append(args, "-c", name+"="+forced[name])
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return s.run(ctx, job{
		program: "postgres", stdin: stdin,
		args: append(args, "-c", "wal_keep_size="+everything,
			"-c", "max_slot_wal_keep_size=-1", "-c", "restore_command=", "-c", "logging_collector=off", "-c", "log_destination=stderr", database),
		files: []*os.File{lock},
	})
}
