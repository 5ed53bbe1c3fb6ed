package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/demo"
)

// Cluster is a store and the nodes on it.
type Cluster struct {
	Etcd  *Etcd
	Nodes []*Node
	// Keep leaves the cluster's folder behind at Close, as KeepVariable does.
	Keep bool

	options Options
	place   place
	binary  string
	began   time.Time
	// ctl is once the operator's configuration is written, ctlErr how that went.
	ctl    sync.Once
	ctlErr error
}

// Start makes a cluster and starts its nodes, and does not wait for them. What
// was made is in the result even after an error: close it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o.fill()
	c := &Cluster{options: o}
	var err error
	if c.binary, err = Binary(ctx); err != nil {
		return c, err
	}
	if c.place, err = newPlace(); err != nil {
		return c, err
	}
	dir := filepath.Join(c.place.dir, "etcd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return c, fmt.Errorf("make etcd's folder: %w", err)
	}
	if c.Etcd, err = startEtcd(ctx, dir, o); err != nil {
		return c, err
	}
	for i := range o.Nodes {
		if _, err := c.Add(fmt.Sprintf("pg%d", i+1)); err != nil {
			return c, err
		}
	}
	c.began = time.Now()
	if o.Unstarted {
		return c, nil
	}
	return c, c.StartNodes()
}

// Add makes a node, which the caller starts.
func (c *Cluster) Add(name string) (*Node, error) {
	n, err := c.newNode(name)
	if err != nil {
		return nil, err
	}
	c.Nodes = append(c.Nodes, n)
	return n, nil
}

// StartNodes starts all nodes.
func (c *Cluster) StartNodes() error {
	c.began = time.Now()
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Began is when the first node was started.
func (c *Cluster) Began() time.Time { return c.began }

// Dir is the cluster's folder.
func (c *Cluster) Dir() string { return c.place.dir }

// Node finds a node by its name; nil when there is none.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Healthy waits until exactly one running node answers 200 as the primary and all
// other running nodes do as streaming replicas of its timeline, and returns the
// primary.
func (c *Cluster) Healthy(ctx context.Context, limit time.Duration) (*Node, error) {
	var primary *Node
	err := Wait(ctx, limit, "a healthy cluster", func(ctx context.Context) string {
		var missing string
		primary, _, missing = c.look(ctx)
		return missing
	})
	return primary, err
}

// Settled waits until the cluster is healthy, its primary sees every standby stream, and
// etcd has it from every member. Each member says so by itself, one after the other: an
// operator's verb reads their keys, and the primary judges candidates by what it sees.
func (c *Cluster) Settled(ctx context.Context, limit time.Duration) (*Node, error) {
	var primary *Node
	err := Wait(ctx, limit, "a healthy cluster that all know of", func(ctx context.Context) string {
		n, statuses, missing := c.look(ctx)
		if missing == "" {
			missing = c.unknown(ctx, n, statuses)
		}
		primary = n
		return missing
	})
	return primary, err
}

// unknown says what of a healthy cluster its primary or etcd has not heard.
func (c *Cluster) unknown(ctx context.Context, primary *Node, statuses map[string]Status) string {
	keys, err := c.memberKeys(ctx)
	if err != nil {
		return err.Error()
	}
	of := statuses[primary.Name]
	var wrong []string
	for name, status := range statuses {
		key, standby := keys[name], name != primary.Name
		_, cascades := status.Tags["replicatefrom"]
		switch {
		case key.State != "running" || key.Timeline != of.Timeline || (key.Role == "replica") != standby,
			standby && key.ReplicationState != "" && key.ReplicationState != "streaming":
			wrong = append(wrong, fmt.Sprintf("the key of %s says %+v", name, key))
		case standby && !cascades && !of.sends(name):
			wrong = append(wrong, fmt.Sprintf("%s sees %+v, and not %s streaming", primary.Name, of.Replication, name))
		}
	}
	return strings.Join(wrong, "; ")
}

// look says what keeps the cluster from being healthy.
func (c *Cluster) look(ctx context.Context) (primary *Node, statuses map[string]Status, missing string) {
	var wrong []string
	statuses = map[string]Status{}
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		status, err := n.Status(ctx)
		statuses[n.Name] = status
		switch {
		case err != nil:
			wrong = append(wrong, n.Name+": "+err.Error())
		case n.Health(ctx, "/primary") == 200 && primary != nil:
			wrong = append(wrong, n.Name+" and "+primary.Name+" both say they are the primary")
		case n.Health(ctx, "/primary") == 200:
			primary = n
		case n.Health(ctx, "/replica") != 200 || status.ReplicationState != "streaming" && !n.patroni: // Patroni 3.0 does not say: the primary does
			wrong = append(wrong, n.Name+": "+status.String())
		}
	}
	if primary == nil {
		return nil, statuses, strings.Join(append(wrong, "no primary"), "; ")
	}
	for name, status := range statuses {
		if status.Timeline != statuses[primary.Name].Timeline {
			wrong = append(wrong, fmt.Sprintf("%s is on timeline %d, the primary on %d", name, status.Timeline, statuses[primary.Name].Timeline))
		}
	}
	return primary, statuses, strings.Join(wrong, "; ")
}

// Primary waits until a running node other than the given ones answers 200 on
// /primary, and returns it.
func (c *Cluster) Primary(ctx context.Context, limit time.Duration, except ...*Node) (*Node, error) {
	var primary *Node
	err := Wait(ctx, limit, "a primary", func(ctx context.Context) string {
		for _, n := range c.Nodes {
			if !slices.Contains(except, n) && n.Running() && n.Health(ctx, "/primary") == 200 {
				primary = n
				return ""
			}
		}
		return "none answers 200"
	})
	return primary, err
}

// Others are the nodes without the given ones.
func (c *Cluster) Others(without ...*Node) []*Node {
	var rest []*Node
	for _, n := range c.Nodes {
		if !slices.Contains(without, n) {
			rest = append(rest, n)
		}
	}
	return rest
}

// KeepVariable, when set, leaves the cluster's folder for a look.
const KeepVariable = "PGKEEPER_KEEP"

// Close ends everything and proves that nothing is left.
func (c *Cluster) Close() error {
	var all error
	var nodes sync.WaitGroup
	errs := make([]error, len(c.Nodes))
	for i, n := range c.Nodes {
		nodes.Go(func() { errs[i] = n.end() })
	}
	nodes.Wait()
	all = errors.Join(errs...)
	if c.Etcd != nil {
		c.Etcd.Stop()
	}
	if c.place.dir == "" {
		return all
	}
	if left := demo.ProcessesOf(c.place.dir); len(left) > 0 {
		all = errors.Join(all, fmt.Errorf("processes %v of %s are left", left, c.place.dir))
	}
	if c.options.Release != nil {
		all = errors.Join(all, c.options.Release())
	}
	if c.Keep || os.Getenv(KeepVariable) != "" {
		return all
	}
	return errors.Join(all, os.RemoveAll(c.place.dir))
}
