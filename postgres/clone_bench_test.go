//go:build bench

package postgres

import (
	"testing"
	"time"
)

// TestBenchCloneOfAGigabyte measures from an empty directory to a standby that
// answers queries.
func TestBenchCloneOfAGigabyte(t *testing.T) {
	a := primary(t, "a")
	a.sql("create table t (i int, filler text) with (fillfactor = 100)")
	for range 8 {
		a.sql("insert into t select i, repeat(md5(i::text), 4) from generate_series(1, 800000) i")
	}
	a.must(a.Checkpoint(a.ctx()))
	t.Logf("database has %s", a.sql("select pg_size_pretty(sum(pg_database_size(oid))) from pg_database"))
	for _, c := range []struct {
		name string
		args []string
	}{{"as it is", nil}, {"without checking checksums", []string{"--no-verify-checksums"}}} {
		for range 3 {
			t.Run(c.name, func(t *testing.T) {
				b := newNode(t, "b", func(o *Options) { o.BasebackupArgs = c.args })
				began := time.Now()
				b.must(b.Clone(b.ctx(), b.source(a), nil))
				cloned := time.Since(began)
				b.config(b.upstream(a))
				b.start(false)
				t.Logf("measured: cloned after %s, standby after %s", cloned.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			})
		}
	}
}
