//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/routing/render"
	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/compose"
)

// scaledFrom is how many nodes the stack has before a trial, as deploy/compose has by itself.
const scaledFrom = 3

// scaleImage is made of the program that is measured.
const scaleImage = "pgkeeper:bench"

// containers is deploy/compose on this machine's engine.
type containers struct {
	stack *compose.Stack
	// nodes are the addresses of the nodes that have served reads.
	nodes []string
}

// compose starts it, once for a run.
func (s *session) compose(ctx context.Context) (*containers, error) {
	if s.boxes != nil {
		return s.boxes, nil
	}
	if out, err := exec.CommandContext(ctx, "docker", "version").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("there is no container engine here: %w: %s", err, out)
	}
	image := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", root, "image", "IMAGE_BASE=pgkeeper-base:bookworm", "IMAGE="+scaleImage)
	if out, err := image.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make the image: %w: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "pgk-compose-") //nolint:usetesting // removed with the stack
	if err != nil {
		return nil, err
	}
	p := render.DefaultParams()
	p.Image = scaleImage
	b := &containers{}
	if b.stack, err = compose.New(ctx, dir, fmt.Sprintf("pgkeeper-bench-%d", os.Getpid()), p); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.boxes = b
	if err := b.stack.Up(scaledFrom); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *containers) stop() error {
	_, err := b.stack.Down()
	return errors.Join(err, os.RemoveAll(b.stack.Dir))
}

// settled waits until so many nodes are there, one leads and the others stream, and returns their names.
func (b *containers) settled(ctx context.Context, nodes int) (names []string, err error) {
	err = testbed.Wait(ctx, 3*time.Minute, fmt.Sprintf("%d nodes that stream", nodes), func(ctx context.Context) string {
		out, err := b.stack.InNode(ctx, "pgkeeper", "list", "-o", "json")
		if err != nil {
			return err.Error()
		}
		list, err := compose.ParseMembers(out)
		names = compose.Serving(list)
		if err != nil || len(list) != nodes || len(names) != nodes {
			return fmt.Sprintf("there is %v (%v)", list, err)
		}
		return ""
	})
	return names, err
}

// reader is the address of the node that HAProxy gives the next reading client.
func (b *containers) reader(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://app:%s@127.0.0.1:%d/app?sslmode=disable", b.stack.Passwords["app"], b.stack.RO))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var address string
	err = conn.QueryRow(ctx, "select host(inet_server_addr())").Scan(&address)
	return address, err
}

// readBy waits until reads have been served by so many nodes that did not before, and returns them.
func (b *containers) readBy(ctx context.Context, more int) (found []string, err error) {
	err = testbed.Wait(ctx, time.Minute, fmt.Sprintf("reads from %d more nodes", more), func(ctx context.Context) string {
		address, err := b.reader(ctx)
		switch {
		case err != nil:
			return err.Error()
		case !slices.Contains(b.nodes, address) && !slices.Contains(found, address):
			found = append(found, address)
		}
		if len(found) < more {
			return "they come from " + strings.Join(append(found, b.nodes...), ", ")
		}
		return ""
	})
	return found, err
}

// scaleTrial adds a node to the stack by its one number. The clock starts with docker-compose, and stops when a client of
// HAProxy's port for reads is served by the new node.
func (s *session) scaleTrial(ctx context.Context) (report.Trial, error) {
	b, err := s.compose(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	before, err := b.settled(ctx, scaledFrom)
	if err != nil {
		return report.Trial{}, err
	}
	b.nodes = nil
	if b.nodes, err = b.readBy(ctx, scaledFrom-1); err != nil { // the standbys; the primary serves reads only when it is alone
		return report.Trial{}, err
	}
	pause(ctx, 5*time.Second) // what the last trial left to write
	began := time.Now()
	done := make(chan error, 1)
	var called time.Duration
	go func() {
		err := b.stack.Up(scaledFrom + 1)
		called = time.Since(began)
		done <- err
	}()
	_, err = b.readBy(ctx, 1)
	took := time.Since(began)
	if err := errors.Join(err, <-done); err != nil {
		return report.Trial{}, err
	}
	t := report.Trial{Value: took.Seconds(), Detail: map[string]any{"compose": called.Seconds()}}
	return t, b.shrink(ctx, before)
}

// shrink takes the newest node away again, whoever leads by then.
func (b *containers) shrink(ctx context.Context, before []string) error {
	grown, err := b.settled(ctx, scaledFrom+1)
	if err != nil {
		return err
	}
	if err := b.stack.Up(scaledFrom); err != nil {
		return err
	}
	for _, name := range grown {
		if slices.Contains(before, name) {
			continue
		}
		if out, err := b.stack.InNode(ctx, "pgkeeper", "remove", "--force", "demo", name); err != nil {
			return fmt.Errorf("remove %s: %w: %s", name, err, out)
		}
	}
	_, err = b.settled(ctx, scaledFrom)
	return err
}
