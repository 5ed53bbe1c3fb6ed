package etcd_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/dcstest"
	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

func TestConformance(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true})
	dcstest.Run(t, func(t *testing.T) dcstest.Harness { return harness(t, m.ClientURL()) })
}

// single starts one embedded member for the test.
func single(t testing.TB, o embedded.Options) *embedded.Member {
	o.Dir = t.TempDir()
	m, err := embedded.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func harness(t *testing.T, endpoints ...string) dcstest.Harness {
	raw := rawClient(t, endpoints...)
	return dcstest.Harness{
		KV:     func(t *testing.T) dcs.KV { return open(t, etcd.Options{Endpoints: endpoints}) },
		Elapse: pass,
		Compact: func(ctx context.Context, revision int64) error {
			_, err := raw.Compact(ctx, revision)
			return err
		},
	}
}

func open(t testing.TB, o etcd.Options) *etcd.KV {
	kv, err := etcd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kv.Close() })
	return kv
}

func rawClient(t testing.TB, endpoints ...string) *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: clientv3.NewCtxClient(t.Context()).GetLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pass lets real time pass: a store in real time has no other clock.
func pass(d time.Duration) { <-time.After(d) }
