//go:build integration

package render

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

// tool finds a program of the distribution.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed: script/install-deps test installs it", name)
	return ""
}

// write renders a kind into a folder that any user may read, with replacements made.
func write(t *testing.T, kind string, p Params, replace ...string) string {
	t.Helper()
	dir := shared(t)
	files, err := Render(kind, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		// A replacement may name the folder, as @DIR@.
		text := strings.ReplaceAll(strings.NewReplacer(replace...).Replace(string(f.Text)), "@DIR@", dir)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shared is a temporary folder which the user postgres can write to: PgBouncer refuses to run as root.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgkeeper-render-") //nolint:usetesting // as root its folders are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a checker and fails with what it said.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs a daemon in the foreground until the test ends, and returns the file of what it says.
func start(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("%s said:\n%s", filepath.Base(name), said)
		}
	})
	return log.Name()
}

// until asks again until there is no error, for a minute.
func until(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

func TestPrometheusTakesTheConfigurationAndTheAlertsFire(t *testing.T) {
	promtool := tool(t, "promtool")
	dir := write(t, "prometheus", DefaultParams())
	run(t, dir, promtool, "check", "config", "prometheus.yml")
	story, err := os.ReadFile("testdata/pgkeeper.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "story.yml"), story, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, promtool, "test", "rules", "story.yml")
}

func TestPgBouncerStartsAndServesBothDatabases(t *testing.T) {
	port := freeport.Of(t)
	dir := write(t, "pgbouncer", DefaultParams(), "listen_addr = *", "listen_addr = 127.0.0.1", "listen_port = 6432", "listen_port = "+strconv.Itoa(port),
		"/etc/pgbouncer/", "@DIR@/", "/var/run/postgresql/", "@DIR@/", "/var/run/postgresql", "@DIR@", "/var/log/postgresql/", "@DIR@/")
	args := []string{filepath.Join(dir, "pgbouncer.ini")}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "postgres"}, args...)
	}
	start(t, dir, tool(t, "pgbouncer"), args...)
	var conn *pgconn.PgConn
	until(t, "log in to the console", func(ctx context.Context) (err error) {
		conn, err = pgconn.Connect(ctx, "host=127.0.0.1 dbname=pgbouncer user=pgbouncer_admin password=change-me-too sslmode=disable port="+strconv.Itoa(port))
		return err
	})
	defer conn.Close(context.WithoutCancel(t.Context()))
	settings := console(t, conn, "SHOW CONFIG", "key", "value")
	for key, want := range map[string]string{"server_login_retry": "0.5", "pool_mode": "transaction", "default_pool_size": "45", "auth_user": "pgbouncer_auth"} {
		if settings[key] != want {
			t.Errorf("%s is %q, want %q", key, settings[key], want)
		}
	}
	ports := console(t, conn, "SHOW DATABASES", "name", "port")
	if ports["app"] != "5000" || ports["app_ro"] != "5001" {
		t.Errorf("databases by port: %v, want app on 5000 and app_ro on 5001", ports)
	}
}

// console asks PgBouncer and returns one column by another.
func console(t *testing.T, conn *pgconn.PgConn, sql, key, value string) map[string]string {
	t.Helper()
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	index := map[string]int{}
	for i, f := range results[0].FieldDescriptions {
		index[f.Name] = i
	}
	found := map[string]string{}
	for _, row := range results[0].Rows {
		found[string(row[index[key]])] = string(row[index[value]])
	}
	return found
}

func TestSystemdTakesTheUnit(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	// The binary is the one thing that need not be installed here.
	dir := write(t, "systemd", DefaultParams(), "/usr/bin/pgkeeper", "/bin/true")
	if said := run(t, dir, analyze, "verify", "./pgkeeper.service"); strings.Contains(said, "pgkeeper.service:") {
		t.Errorf("systemd-analyze: %s", said)
	}
}

func TestHAProxyTakesTheConfigurationOfComposeAndSwarm(t *testing.T) {
	for _, kind := range []string{"compose", "swarm"} {
		dir := write(t, kind, DefaultParams(), "/etc/haproxy/hold.lua", "hold.lua")
		if said := run(t, dir, tool(t, "haproxy"), "-c", "-f", "haproxy.cfg"); strings.Contains(said, "[WARNING]") {
			t.Errorf("%s: haproxy -c warns: %s", kind, said)
		}
	}
}

func TestComposeTakesItsFile(t *testing.T) {
	compose, err := exec.LookPath("docker-compose")
	if err != nil {
		t.Skip("docker-compose is not installed")
	}
	dir := write(t, "compose", DefaultParams())
	run(t, dir, compose, "config", "-q")
}
