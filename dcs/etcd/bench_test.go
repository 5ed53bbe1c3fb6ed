package etcd_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

// BenchmarkStore measures the requests of a holder on etcd with fsync on.
func BenchmarkStore(b *testing.B) {
	m := single(b, embedded.Options{})
	kv := open(b, etcd.Options{Endpoints: []string{m.ClientURL()}})
	ctx := b.Context()
	store := dcs.NewStore(kv, "service", "bench")
	s, err := store.Open(ctx, "a", time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	l, err := s.Acquire(ctx, dcs.Candidacy{TTL: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	for name, request := range map[string]func(i int) error{
		"txn": func(i int) error {
			_, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("/bench", fmt.Append(nil, i), 0)})
			return err
		},
		"keepalive": func(int) error { return s.KeepAlive(ctx) },
		"renew":     func(int) error { return l.Renew(ctx, time.Minute) },
		"load":      func(int) error { _, err := store.Load(ctx); return err },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := range b.N {
				began := time.Now()
				if err := request(i); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
