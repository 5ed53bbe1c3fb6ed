package ctl

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// mute is a store that never answers.
type mute struct{ dcs.KV }

func (mute) Range(ctx context.Context, _ string) (dcs.Snapshot, error) {
	<-ctx.Done()
	return dcs.Snapshot{}, ctx.Err()
}

func TestAListOfClustersWaitsNoLongerThanOtherReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := Scopes(t.Context(), mute{}, "service")
		if waited := time.Since(begun); waited != storeTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s: %v", waited, err)
		}
		if text := Trouble([]string{"dead:1"}, err).Error(); !strings.Contains(text, "etcd at dead:1 does not answer") {
			t.Errorf("got %q", text)
		}
	})
}
