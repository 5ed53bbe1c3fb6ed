package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// Cluster is several members in this process.
type Cluster struct {
	members []*Member
}

// StartCluster starts size members with their data in folders of dir, and waits
// until all answer. Of o, Dir, Name, the URLs and Members are filled in.
func StartCluster(ctx context.Context, dir string, size int, o Options) (*Cluster, error) {
	if size < 1 {
		return nil, fmt.Errorf("embedded etcd: a cluster of %d members is none", size)
	}
	urls := make([]string, 2*size)
	wanted := make([]*string, 2*size)
	for i := range urls {
		wanted[i] = &urls[i]
	}
	if err := freeURLs(wanted...); err != nil {
		return nil, err
	}
	o.Members = map[string]string{}
	for i := range size {
		o.Members[memberName(i)] = urls[2*i]
	}
	c := &Cluster{}
	for i := range size {
		o.Name, o.PeerURL, o.ClientURL = memberName(i), urls[2*i], urls[2*i+1]
		o.Dir = filepath.Join(dir, o.Name)
		m, err := New(o)
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	if err := c.each(func(m *Member) error { return m.Start(ctx) }); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func memberName(i int) string { return fmt.Sprintf("etcd%d", i+1) }

// each runs f on all members at once: members wait for each other.
func (c *Cluster) each(f func(*Member) error) error {
	errs := make([]error, len(c.members))
	var all sync.WaitGroup
	for i, m := range c.members {
		all.Go(func() { errs[i] = f(m) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Members are the members in order, running or not.
func (c *Cluster) Members() []*Member { return c.members }

// Endpoints are all members' client URLs.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.ClientURL())
	}
	return urls
}

// Leader is the member that leads, nil while none does.
func (c *Cluster) Leader() *Member {
	for _, m := range c.members {
		if m.Leading() {
			return m
		}
	}
	return nil
}

// Close stops all members, the leader last: one that stops together with the
// others waits seconds for somebody to take its leadership.
func (c *Cluster) Close() {
	leader := c.Leader()
	_ = c.each(func(m *Member) error {
		if m != leader {
			m.Close()
		}
		return nil
	})
	if leader != nil {
		leader.Close()
	}
}
