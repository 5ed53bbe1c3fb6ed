//go:build integration

package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAQuickLookTellsHowFarBothServersAre(t *testing.T) {
	a := primary(t, "a")
	b := standby(t, "b", a)
	a.sql("create table t as select generate_series(1, 1000) i")
	var at, from Progress
	wait(t, "the standby to have replayed what the primary has", func() (bool, string) {
		var err error
		from, err = a.LookProgress(a.ctx())
		a.must(err)
		at, err = b.LookProgress(b.ctx())
		b.must(err)
		// A walsender tells of its standby once it has caught up, which may be
		// after the standby itself has told that it replayed all of it. And there may
		// be more WAL already, received and not replayed.
		caughtUp := at.Replay >= from.Write && at.Latest >= from.Write && at.Receive == at.Replay && at.Streaming && from.Standbys["b"] != 0
		return caughtUp, fmt.Sprintf("standby %+v, primary %+v", at, from)
	})
	if at.Mode != cluster.ModeStandby || !at.Streaming || at.Receive != at.Replay || at.CommitAge < 0 || at.CommitAge > time.Hour || len(at.Standbys) != 0 {
		t.Errorf("the standby: %+v", at)
	}
	if from.Mode != cluster.ModePrimary || from.Replay != 0 || from.CommitAge >= 0 || len(from.Standbys) != 1 {
		t.Errorf("the primary: %+v", from)
	}
	b.sql("alter system set primary_conninfo = ''")
	b.sql("select pg_reload_conf()")
	wait(t, "the stream to end", func() (bool, string) {
		at, err := b.LookProgress(b.ctx())
		b.must(err)
		return !at.Streaming, fmt.Sprintf("%+v", at)
	})
}
