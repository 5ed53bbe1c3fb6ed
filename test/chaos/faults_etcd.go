package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// etcdStart bounds the return of a member.
const etcdStart = 20 * time.Second

func memberName(i int) string { return fmt.Sprintf("etcd%d", i+1) }

// leader is etcd's leader, or a member by chance when none answers in time.
func leader(ctx context.Context, w *world) int {
	if i, err := w.c.Etcd.Leader(ctx); err == nil {
		return i
	}
	return w.dice.IntN(len(w.c.Etcd.Members))
}

// killMembers kills members, beginning with the leader or with one that is not.
func killMembers(count int, withLeader bool) func(context.Context, *world, *testbed.Node) (func() error, error) {
	return func(ctx context.Context, w *world, _ *testbed.Node) (func() error, error) {
		first := leader(ctx, w)
		if !withLeader {
			first++
		}
		var killed []testbed.EtcdMember
		for i := range count {
			m := w.c.Etcd.Members[(first+i)%len(w.c.Etcd.Members)]
			m.Kill()
			killed = append(killed, m)
		}
		return func() error { return restartAll(ctx, killed) }, nil
	}
}

func restartAll(ctx context.Context, all []testbed.EtcdMember) error {
	errs := make(chan error, len(all))
	for _, m := range all { // at once: a quorum waits for each other
		go func() { errs <- restart(ctx, m) }()
	}
	var first error
	for range all {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// restart starts a member that does not run.
func restart(ctx context.Context, m testbed.EtcdMember) error {
	if testbed.MemberRuns(m) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, etcdStart)
	defer cancel()
	return m.Start(ctx)
}

func cutLeader(ctx context.Context, w *world, _ *testbed.Node) (func() error, error) {
	return lan.Unplug(memberName(leader(ctx, w)))
}

// freezeLeaderDisk leaves etcd's leader without its disk: its process runs, answers
// keepalives from memory, and commits nothing.
func freezeLeaderDisk(ctx context.Context, w *world, _ *testbed.Node) (func() error, error) {
	return w.disks.freeze(filepath.Join(w.c.Etcd.Dir(), memberName(leader(ctx, w))))
}
