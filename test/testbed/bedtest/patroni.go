package bedtest

import (
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// NewMixed makes a cluster of three nodes on the distribution's etcd, at Patroni's minima.
// Patroni bootstraps it on the first of the nodes named, and runs on all of them; agents
// run on the others. It is healthy when it returns. Without Patroni the test is skipped.
func NewMixed(t *testing.T, o testbed.Options, patroni ...string) *Bed {
	t.Helper()
	if os.Getenv("MIXED") == "" { // they take minutes of leases that Patroni does not have shorter
		t.Skip("clusters of agents and Patroni are run with MIXED=1")
	}
	version, err := testbed.PatroniVersion(t.Context())
	if errors.Is(err, testbed.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(version)
	dynamic := map[string]any{"maximum_lag_on_failover": 1 << 20}
	maps.Copy(dynamic, o.Dynamic)
	o.EtcdBinary, o.Unstarted, o.Dynamic = true, true, dynamic
	o.TTL, o.LoopWait, o.RetryTimeout = testbed.PatroniTTL, testbed.PatroniLoopWait, testbed.PatroniRetryTimeout
	b := New(t, o)
	for _, name := range patroni {
		b.Must(b.Node(name).UnderPatroni(true))
	}
	b.Must(b.Node(patroni[0]).Start())
	b.Primary(startLimit)
	for _, n := range b.Nodes {
		if !n.Running() {
			b.Must(n.Start())
		}
	}
	b.Healthy(2 * startLimit)
	return b
}

// Patronictl runs Patroni's tool and wants it to say the words: its exit code says little.
func (b *Bed) Patronictl(words string, args ...string) testbed.Result {
	b.t.Helper()
	r, err := b.Cluster.Patronictl(b.t.Context(), args...)
	b.Must(err)
	if r.Code != 0 || !strings.Contains(r.Out, words) {
		b.t.Fatalf("patronictl %s: want %q, got %v", strings.Join(args, " "), words, r)
	}
	return r
}
