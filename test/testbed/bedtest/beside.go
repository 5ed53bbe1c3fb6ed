package bedtest

import (
	"errors"
	"testing"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// beside is a program of the distribution that runs beside a cluster.
type beside interface {
	Log() string
	Close() error
}

// endWith ends it with the test, which shows what it said when it fails. Without the
// program on the machine the test is skipped.
func endWith(t *testing.T, p beside, err error) {
	t.Helper()
	if errors.Is(err, testbed.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Log())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// PgBouncer starts a pooler for a test.
func PgBouncer(t *testing.T, users map[string]string) *testbed.PgBouncer {
	t.Helper()
	p, err := testbed.StartPgBouncer(t.Context(), users)
	endWith(t, p, err)
	return p
}

// Front puts HAProxy and `pgkeeper route` before the cluster.
func (b *Bed) Front() *testbed.Front {
	b.t.Helper()
	f, err := b.StartFront()
	endWith(b.t, f, err)
	b.tellFirst()
	return f
}

// Pgpool puts Pgpool-II before a front, with the roles that may log in.
func (b *Bed) Pgpool(f *testbed.Front, roles map[string]string) *testbed.Pgpool {
	b.t.Helper()
	p, err := b.StartPgpool(b.t.Context(), f, roles)
	endWith(b.t, p, err)
	b.tellFirst()
	return p
}

// tellFirst has a test that fails tell of its agents before what stands before them.
func (b *Bed) tellFirst() {
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.tell()
		}
	})
}
