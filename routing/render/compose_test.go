package render

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// composed are the rendered files of deploy/compose by name.
func composed(t *testing.T) map[string]string {
	t.Helper()
	files, err := Render("compose", DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, f := range files {
		byName[f.Name] = string(f.Text)
	}
	return byName
}

func TestPgBouncerOfComposeLogsInWithTheSecret(t *testing.T) {
	dir := t.TempDir()
	script := strings.NewReplacer("/run/secrets/pgkeeper/", dir+"/", "/tmp/", dir+"/").Replace(composed(t)["pgbouncer/start.sh"])
	for name, text := range map[string]string{"pooler": `a "quoted" pass\word's %s` + "\n", "pgbouncer": "#!/bin/sh\necho \"$@\" > " + dir + "/started\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list := filepath.Join(dir, "userlist.txt")
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"pgbouncer_auth" "a ""quoted"" pass\word's %s"` + "\n"; string(text) != want {
		t.Errorf("userlist.txt is %q, want %q", text, want)
	}
	if info, err := os.Stat(list); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("userlist.txt: %v %v, want 0600", info.Mode(), err)
	}
	if started, err := os.ReadFile(filepath.Join(dir, "started")); err != nil || string(started) != "/etc/pgbouncer/pgbouncer.ini\n" {
		t.Errorf("pgbouncer was started with %q, %v", started, err)
	}
	if !strings.Contains(composed(t)["pgbouncer/pgbouncer.ini"], "\nauth_file = /tmp/userlist.txt\n") {
		t.Error("pgbouncer.ini does not read that list")
	}
}

// The application's role is made before clients are let through, by the script that bootstrap is given.
func TestSetupOfComposeRunsInTheBootstrap(t *testing.T) {
	files := composed(t)
	for name, want := range map[string]string{
		"pgkeeper.yml": "\n  post_bootstrap: sh /etc/pgkeeper/setup.sh\n", "docker-compose.yml": "\n      - ./setup.sh:/etc/pgkeeper/setup.sh:ro\n",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
	if strings.Contains(files["docker-compose.yml"], "\n  setup:") {
		t.Error("a service makes the role after clients are let through")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"app": "an app's\n", "pooler": "a pooler's\n", "psql": "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(files["setup.sh"], "/run/secrets/pgkeeper/", dir+"/"), "setup.sh", "dbname=postgres host=/a b")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	for _, word := range []string{"app=an app's", "pooler=a pooler's", "dbname=postgres host=/a b"} {
		if err != nil || !strings.Contains(string(out), "\n"+word+"\n") {
			t.Errorf("psql was not given %q: %v\n%s", word, err, out)
		}
	}
}

func TestNoPasswordOfComposeStandsOutsideItsSecrets(t *testing.T) {
	for name, text := range composed(t) {
		if !strings.HasPrefix(name, "secrets/") && strings.Contains(text, "change-me") {
			t.Errorf("%s has a password: one that is changed in secrets/ would be changed in one place of two", name)
		}
	}
}
