//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// A Patroni leader keeps no record of rules: after it the key sync says who has every
// commit.
func TestAfterAPatroniLeaderOnlyThoseInTheKeySyncAreElected(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	old := b.Healthy(10 * time.Second)
	listed := b.Others(old)[1] // of two that are as far, the other goes first
	client, err := b.Etcd.Client(t.Context())
	b.Must(err)
	defer client.Close()

	b.Must(old.KillAll())
	_, err = client.Put(t.Context(), testbed.Base+"sync", `{"leader":"`+old.Name+`","quorum":0,"sync_standby":"`+listed.Name+`"}`)
	b.Must(err)
	if next := b.Primary(20*time.Second, old); next != listed {
		t.Errorf("%s was elected, and the key sync lists %s", next.Name, listed.Name)
	}
	b.Wait(5*time.Second, "the key sync to go with the mode that it was for", func(ctx ctx) string {
		value, found, err := b.Cluster.Key(ctx, "sync")
		switch {
		case err != nil:
			return err.Error()
		case found:
			return "it says " + value
		}
		return ""
	})
	b.Must(old.Start())
	b.Healthy(30 * time.Second)
}
