//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// A promotion that dies at once may have told a standby of its timeline, and no
// more. PostgreSQL then takes that for its goal, and follows no timeline that is
// not its child.
func TestAStandbyThatHeardOfADeadTimelineFollowsTheLivingOne(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	first := b.Healthy(10 * time.Second)
	second, bystander := b.Others(first)[0], b.Others(first)[1]
	client, err := b.Etcd.Client(t.Context())
	b.Must(err)
	defer client.Close()

	// Timeline 2 is the dead one: reserved by a term long gone, and known to the
	// bystander by its history file alone.
	_, err = client.Put(t.Context(), testbed.Base+"pgkeeper/timelines", `{"reserved":[{"timeline":2,"term":1}]}`)
	b.Must(err)
	dead := fmt.Sprintf("1\t%s\tno recovery target specified\n", b.Text(first, "pg_current_wal_lsn() + 65536"))
	path := filepath.Join(bystander.DataDir(), "pg_wal", "00000002.history")
	b.Must(os.WriteFile(path, []byte(dead), 0o644))
	b.Must(first.Exec(t.Context(), "select pg_terminate_backend(pid) from pg_stat_replication where application_name = '"+bystander.Name+"'"))
	b.Wait(10*time.Second, "the dead timeline to become a goal", func(ctx) string {
		if count(bystander.Log(), "new target timeline is 2") == 0 {
			return "it is none"
		}
		return ""
	})

	o := b.Observe()
	o.Fault()
	b.Ctl("switchover", "--candidate", second.Name, "--force")
	if primary := b.Healthy(30 * time.Second); primary != second {
		t.Errorf("the primary is %s, want %s", primary.Name, second.Name)
	}
	if got := status(b, second).Timeline; got != 3 {
		t.Errorf("the new primary is on timeline %d, want 3: 2 was reserved", got)
	}
	if clones := count(bystander.Log(), "job started", "action=clone"); clones != 1 {
		t.Errorf("%s was cloned %d times, want once, at first", bystander.Name, clones)
	}
	o.Interrupted(5 * time.Second)
	o.End(second, 0)
}
