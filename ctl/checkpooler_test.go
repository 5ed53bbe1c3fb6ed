package ctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/config"
)

// A plain user is asked for itself, root for the server's user.
func TestADirectoryWhereTheAgentCannotReplaceThePoolersFileIsFound(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{PgBouncer: config.PgBouncer{Admin: "host=x", DatabasesFile: filepath.Join(dir, "databases.ini")}}
	severity := SeverityError
	if os.Geteuid() == 0 {
		c.PostgreSQL.User, severity = "nobody", SeverityWarning
	}
	for mode, want := range map[os.FileMode]bool{0o555: true, 0o777: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		found := CheckPooler(c)
		if (len(found) == 1) != want {
			t.Errorf("mode %04o: found %+v", mode, found)
		}
		for _, f := range found {
			if f.Severity != severity || !strings.Contains(f.What, dir+": permission denied") || f.Fix == "" {
				t.Errorf("mode %04o: %+v", mode, f)
			}
		}
	}
	c.PgBouncer.DatabasesFile = "/nonexistent/databases.ini"
	if found := CheckPooler(c); len(found) != 1 {
		t.Errorf("a directory that is not there: %+v", found)
	}
	c.PgBouncer.Admin = ""
	if found := CheckPooler(c); found != nil {
		t.Errorf("no pooler is driven, and yet %+v", found)
	}
}
