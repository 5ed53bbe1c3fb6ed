package bedtest

import (
	"errors"
	"testing"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// PgBouncer starts a pooler for a test, which ends it and shows what it said when it
// fails. Without a pgbouncer on the machine the test is skipped.
func PgBouncer(t *testing.T, users map[string]string) *testbed.PgBouncer {
	t.Helper()
	p, err := testbed.StartPgBouncer(t.Context(), users)
	if errors.Is(err, testbed.ErrNoPgBouncer) {
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
	return p
}
