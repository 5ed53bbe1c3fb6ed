//go:build containers

package containers

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/routing/render"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/compose"
)

// image is not the one that a user's own containers have.
const image = "pgkeeper:test"

// params are those of every stack here.
func params() render.Params {
	p := render.DefaultParams()
	p.Image = image
	return p
}

// needImage skips where there is no engine, or no image on it.
func needImage(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", image).CombinedOutput(); err != nil {
		t.Skipf("there is no image %s, or no engine: make containers (%s)", image, strings.TrimSpace(string(out)))
	}
}

// docker runs one command of the engine's client and returns what it printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// deployed is a cluster in containers, as its clients and its operator see it.
type deployed struct {
	t *testing.T
	// rw and ro are HAProxy's ports, pool is PgBouncer's.
	rw, ro, pool int
	// inNode runs a command in one of the nodes' containers.
	inNode func(args ...string) ([]byte, error)
	// password of a user.
	password map[string]string
}

// answers is how long a command in a container may take, patience what is waited for: on a machine that does much else,
// docker-compose needs half a minute to begin one.
const (
	answers  = time.Minute
	patience = 3 * time.Minute
)

// members asks one node for the list.
func (d *deployed) members() []compose.Member {
	out, err := d.inNode("pgkeeper", "list", "-o", "json")
	if err != nil {
		return nil
	}
	list, err := compose.ParseMembers(out)
	if err != nil {
		return nil
	}
	return list
}

// healthy waits for a leader and so many standbys that stream, and returns all names, the leader's first.
func (d *deployed) healthy(nodes int, limit time.Duration) []string {
	d.t.Helper()
	var names []string
	d.until(limit, fmt.Sprintf("%d healthy nodes", nodes), func(context.Context) error {
		list := d.members()
		names = compose.Serving(list)
		if len(names) != nodes || len(list) != nodes {
			return fmt.Errorf("there is %v", list)
		}
		return nil
	})
	return names
}

// until waits until try succeeds, and returns how long that took.
func (d *deployed) until(limit time.Duration, what string, try func(context.Context) error) time.Duration {
	d.t.Helper()
	began := time.Now()
	err := testbed.Wait(d.t.Context(), limit, what, func(ctx context.Context) string {
		if err := try(ctx); err != nil {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return time.Since(began)
}

// ask runs one statement as a client outside would and returns its one value.
func (d *deployed) ask(ctx context.Context, port int, user, database, sql string) (string, error) {
	return d.askWithin(ctx, 5*time.Second, port, user, database, sql)
}

func (d *deployed) askWithin(ctx context.Context, limit time.Duration, port int, user, database, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable password=%s", port, user, database, d.password[user]))
	if err != nil {
		return "", err
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var value string
	err = conn.QueryRow(ctx, sql).Scan(&value)
	return value, err
}

// serves waits until this way leads to a server in that mode.
func (d *deployed) serves(port int, user, database, recovery string) {
	d.t.Helper()
	d.until(60*time.Second, fmt.Sprintf("port %d, database %s", port, database), func(ctx context.Context) error {
		got, err := d.ask(ctx, port, user, database, "select pg_is_in_recovery()::text")
		if err == nil && got != recovery {
			err = fmt.Errorf("pg_is_in_recovery is %s", got)
		}
		return err
	})
}

// noticed is how long HAProxy may need to see that the primary is gone; a connection to a machine that is not there takes
// a second to fail.
const noticed = 3 * time.Second

// writes waits until a row goes through, and returns how long that took. HAProxy holds new connections meanwhile: once it has
// noticed, none fails.
func (d *deployed) writes(user, database string) time.Duration {
	d.t.Helper()
	began := time.Now()
	write := func(ctx context.Context, sql string) error {
		_, err := d.askWithin(ctx, time.Minute, d.rw, user, database, sql)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			if since := time.Since(began); since > noticed {
				d.t.Errorf("%s after the primary had gone a new connection failed, which was to be held: %v", since.Round(time.Millisecond), err)
			}
			return err
		}
		return nil
	}
	return d.until(time.Minute, "a write", func(ctx context.Context) error {
		if err := write(ctx, "create table if not exists t (i int)"); err != nil {
			return err
		}
		return write(ctx, "insert into t values (1) returning i::text")
	})
}

// kept waits until the rows that were written are read again.
func (d *deployed) kept(user, database string, rows int) {
	d.t.Helper()
	d.until(30*time.Second, "the rows after all", func(ctx context.Context) error {
		got, err := d.ask(ctx, d.rw, user, database, fmt.Sprintf("select count(*) >= %d from t", rows)) // a write of which no answer came may be there too
		if err == nil && got != "t" {
			err = fmt.Errorf("some of %d rows are gone", rows)
		}
		return err
	})
}

// slots waits until the primary has so many replication slots.
func (d *deployed) slots(want int) {
	d.t.Helper()
	d.until(30*time.Second, "the slots of nodes that are gone to go", func(ctx context.Context) error {
		slots, err := d.ask(ctx, d.rw, "postgres", "postgres", "select count(*)::text from pg_replication_slots")
		if err == nil && slots != fmt.Sprint(want) {
			err = fmt.Errorf("there are %s slots, want %d: one for each standby", slots, want)
		}
		return err
	})
}

// remove takes a member that is gone out of the cluster.
func (d *deployed) remove(scope, name string) {
	d.t.Helper()
	if out, err := d.inNode("pgkeeper", "remove", "--force", scope, name); err != nil || !strings.Contains(string(out), "Success") {
		d.t.Errorf("remove %s: %v %s", name, err, out)
	}
}
