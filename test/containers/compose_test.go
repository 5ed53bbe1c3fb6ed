//go:build containers

package containers

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/test/testbed/compose"
)

// stack is deploy/compose, as its clients and its operator see it.
type stack struct {
	deployed
	*compose.Stack
}

func newStack(t *testing.T) *stack {
	t.Helper()
	needImage(t)
	c, err := compose.New(t.Context(), t.TempDir(), "pgkeeper-test-"+strconv.Itoa(os.Getpid()), params())
	if errors.Is(err, compose.ErrNoProgram) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{deployed{t: t, rw: c.RW, ro: c.RO, pool: c.Pool, password: c.Passwords}, c}
	s.inNode = func(args ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), answers)
		defer cancel()
		return c.InNode(ctx, args...)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Run("logs", "--tail=40"))
		}
		t.Log(c.Down())
	})
	return s
}

func (s *stack) up(nodes int, more ...string) {
	s.t.Helper()
	if err := s.Up(nodes, more...); err != nil {
		s.t.Fatal(err)
	}
}

// firstLogin connects as the application as soon as anything answers: a cluster that refuses its role or database then was
// let through before they were made.
func (s *stack) firstLogin() {
	s.t.Helper()
	s.until(patience, "a first login of the application", func(ctx context.Context) error {
		_, err := s.askWithin(ctx, time.Minute, s.rw, "app", "app", "select 1::text")
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
			s.t.Fatalf("the application was let through and refused: %v", refused)
		}
		return err
	})
}

func TestOneNumberOfNodes(t *testing.T) {
	s := newStack(t)
	s.up(3)
	s.firstLogin()
	names := s.healthy(3, patience)
	s.serves(s.rw, "app", "app", "false")
	s.serves(s.ro, "app", "app", "true")
	s.serves(s.pool, "app", "app", "false")
	s.serves(s.pool, "app", "app_ro", "true")

	began := time.Now()
	s.up(5)
	grown := s.healthy(5, patience)
	t.Logf("two more nodes serve %s after docker-compose was called", time.Since(began).Round(100*time.Millisecond))

	docker(t, "kill", grown[0])
	t.Logf("writes went on %s after the primary's container was killed (ttl 10)", s.writes("app", "app").Round(100*time.Millisecond))
	s.up(3)
	shrunk := s.healthy(3, patience)
	for _, name := range grown {
		if !slices.Contains(shrunk, name) {
			s.remove("demo", name)
		}
	}
	s.slots(2)

	s.up(3, "--force-recreate")
	again := s.healthy(3, patience)
	slices.Sort(shrunk)
	slices.Sort(again)
	if !slices.Equal(again, shrunk) {
		t.Errorf("containers that were made anew are %v, want the members they were: %v (at first %v)", again, shrunk, names)
	}
	s.kept("app", "app", 1)
}
