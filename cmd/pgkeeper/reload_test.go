package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAReloadThatIsRefusedSaysWhereAndWhy: the error goes to whoever asked.
func TestAReloadThatIsRefusedSaysWhereAndWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pgkeeper.yml")
	content := "scope: batman\nname: pg1\nrestapi: {listen: '127.0.0.1:2'}\netcd3: {hosts: ['127.0.0.1:1']}\n" +
		"postgresql: {listen: '127.0.0.1:1', connect_address: '127.0.0.1:1', data_dir: /var/lib/x, authentication: {superuser: {username: postgres, password: hunter2}}}\n"
	for _, c := range []struct{ more, want string }{
		{"", ""}, {"ttl: soon\nlog: {level: LOUD}\n", "pgkeeper.yml:7"}, {"log: [\n", "pgkeeper.yml"},
	} {
		if err := os.WriteFile(file, []byte(content+c.more), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&app{err: os.Stderr}).reloadAgent(file)
		switch {
		case c.want == "" && (err != nil || got.Name != "pg1"):
			t.Errorf("a good file: %v", err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") || got != nil):
			t.Errorf("%q: %v, want %s named", c.more, err, c.want)
		case err != nil:
			t.Logf("%q: %v", c.more, err)
		}
	}
}
