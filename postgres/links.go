package postgres

import (
	"fmt"
	"os"
	"path/filepath"
)

// link is a part of the data directory that lies elsewhere.
type link struct {
	// path is the symbolic link, target the directory it leads to.
	path, target string
	// owned is the part of target that is this server's alone: of a tablespace the
	// directory named after the version.
	owned string
}

// links finds tablespaces and a WAL directory outside the data directory. It must
// run with the owner's rights. What cannot be read is no link.
func (s *Server) links() []link {
	var found []link
	if target, err := filepath.EvalSymlinks(s.data("pg_wal")); err == nil && target != s.data("pg_wal") && isLink(s.data("pg_wal")) {
		found = append(found, link{path: s.data("pg_wal"), target: target, owned: target})
	}
	spaces, err := os.ReadDir(s.data("pg_tblspc"))
	if err != nil {
		return found
	}
	for _, entry := range spaces {
		path := s.data("pg_tblspc", entry.Name())
		target, err := filepath.EvalSymlinks(path)
		if err != nil || !isLink(path) {
			continue
		}
		versions, err := filepath.Glob(filepath.Join(target, fmt.Sprintf("PG_%d_*", s.version.major)))
		if err != nil || len(versions) != 1 {
			continue
		}
		found = append(found, link{path: path, target: target, owned: versions[0]})
	}
	return found
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}
