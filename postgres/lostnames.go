package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// nameLost gives relations their names, as the source knows them, and leaves out
// what is no table of a user's: catalogs, and the storage of long values, whose
// table stands beside. Who cannot be asked names nothing: numbers stay.
//
// A relation whose file was made in the abandoned WAL is not asked for: the source
// may since have given the same number to another table. It gets its database only;
// nameLocally knows more.
func (s *Server) nameLost(ctx context.Context, source Source, lost *cluster.Lost) {
	ctx, cancel := context.WithTimeout(ctx, namesLimit)
	defer cancel()
	ask := map[string][]string{}
	for _, t := range lost.Tables {
		if parts := strings.Split(t.Relation, "/"); len(parts) == 3 && !t.Created && parts[1] != "0" {
			ask[parts[1]] = append(ask[parts[1]], t.Relation)
		}
	}
	known, databases := map[string]namedTable{}, map[string]string{}
	if len(lost.Tables) > 0 {
		if err := s.askNames(ctx, source, ask, known, databases); err != nil {
			s.o.Log.Debug("tables of lost transactions not named", "error", err)
		}
	}
	lost.Tables = slices.DeleteFunc(lost.Tables, func(t cluster.LostTable) bool {
		return known[t.Relation].internal || strings.Contains(t.Relation, "/0/") // shared catalogs
	})
	for i := range lost.Tables {
		relation := lost.Tables[i].Relation
		_, database, _ := strings.Cut(relation, "/")
		database, _, _ = strings.Cut(database, "/")
		lost.Tables[i].Database, lost.Tables[i].Name = databases[database], known[relation].Name
	}
}

// namedTable is a relation as the source knows it.
type namedTable struct {
	Relation string `json:"relation"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Schema   string `json:"schema"`
	internal bool
}

const (
	databasesSQL = `select json_agg(json_build_object('relation', oid::text, 'name', datname)) from pg_database where datallowconn`
	tablesSQL    = `select coalesce(json_agg(json_build_object('relation', x.t || '/' || x.d || '/' || x.r,
		'name', n.nspname || '.' || c.relname, 'kind', c.relkind, 'schema', n.nspname)), '[]')
		from (select split_part(w, '/', 1) t, split_part(w, '/', 2) d, split_part(w, '/', 3) r from unnest($1::text[]) w) x
		join pg_class c on c.oid = pg_filenode_relation(x.t::oid, x.r::oid) join pg_namespace n on n.oid = c.relnamespace`
)

// askNames asks the source for its databases by number, and each of them for the
// relations in it.
func (s *Server) askNames(ctx context.Context, source Source, ask map[string][]string, known map[string]namedTable, databases map[string]string) error {
	list, err := s.namesFrom(ctx, source, "postgres", databasesSQL)
	if err != nil {
		return err
	}
	for _, database := range list {
		databases[database.Relation] = database.Name
		relations := ask[database.Relation]
		if len(relations) == 0 {
			continue
		}
		tables, err := s.namesFrom(ctx, source, database.Name, tablesSQL, "{"+strings.Join(relations, ",")+"}")
		if err != nil {
			return err
		}
		for _, t := range tables {
			t.internal = t.Kind == "t" || t.Schema == "pg_catalog" || t.Schema == "information_schema"
			known[t.Relation] = t
		}
	}
	return nil
}

// namesFrom runs one query that answers JSON, as the role that rewinds.
func (s *Server) namesFrom(ctx context.Context, source Source, database, sql string, args ...string) (rows []namedTable, err error) {
	row, err := s.askSource(ctx, source, database, sql, args...)
	if err == nil {
		err = json.Unmarshal(row[0], &rows)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for names in %s: %w", source.address(), database, err)
	}
	return rows, nil
}

// askSource runs one query that answers one row, with what pg_rewind connects as.
func (s *Server) askSource(ctx context.Context, source Source, database, sql string, args ...string) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.askLimit)
	defer cancel()
	c := s.o.Rewind
	config, err := clientConfig(c, source.Host, cmp.Or(source.Port, "5432"), database, cmp.Or(c.SSLMode, "prefer"))
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.explain(err, c, source.address())
	}
	defer closeConn(ctx, conn)
	values := make([][]byte, len(args))
	for i, arg := range args {
		values[i] = []byte(arg)
	}
	result := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	if len(result.Rows) != 1 {
		return nil, fmt.Errorf("%s answered %d rows", source.address(), len(result.Rows))
	}
	return result.Rows[0], nil
}
