package pgbouncer

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheFileNamesThePrimaryAndTheReplicas(t *testing.T) {
	o := Options{Databases: []string{"app", "log"}, ReadSuffix: "_ro", Parameters: "pool_size=20"}
	const head = "; Written by the pgkeeper agent of pg1, whenever the primary or the replicas change.\n; Edit poolers.pgbouncer in its configuration instead.\n[databases]\n"
	primary := server{"10.0.0.1", "5432"}
	for name, c := range map[string]struct {
		replicas []server
		want     string
	}{
		"one line for writes and one for reads": {[]server{{"10.0.0.2", "5432"}, {"10.0.0.3", "5432"}}, head +
			"app = host=10.0.0.1 port=5432 dbname=app pool_size=20\napp_ro = host=10.0.0.2,10.0.0.3 port=5432 dbname=app pool_size=20\n" +
			"log = host=10.0.0.1 port=5432 dbname=log pool_size=20\nlog_ro = host=10.0.0.2,10.0.0.3 port=5432 dbname=log pool_size=20\n"},
		"without replicas the primary is read from": {nil, head +
			"app = host=10.0.0.1 port=5432 dbname=app pool_size=20\napp_ro = host=10.0.0.1 port=5432 dbname=app pool_size=20\n" +
			"log = host=10.0.0.1 port=5432 dbname=log pool_size=20\nlog_ro = host=10.0.0.1 port=5432 dbname=log pool_size=20\n"},
		"of several ports the one that most have": {[]server{{"10.0.0.2", "5433"}, {"10.0.0.3", "5432"}, {"10.0.0.4", "5433"}}, head +
			"app = host=10.0.0.1 port=5432 dbname=app pool_size=20\napp_ro = host=10.0.0.2,10.0.0.4 port=5433 dbname=app pool_size=20\n" +
			"log = host=10.0.0.1 port=5432 dbname=log pool_size=20\nlog_ro = host=10.0.0.2,10.0.0.4 port=5433 dbname=log pool_size=20\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(o.render("pg1", want{primary: primary, replicas: c.replicas})); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAFileIsReplacedAsAWholeAndKeepsItsPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "databases.ini")
	if err := replaceFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("two")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(content) != "two" || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, %v, %v, %v", content, info.Mode(), err, statErr)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := replaceFile(filepath.Join(filepath.Dir(path), "missing", "x"), nil); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
