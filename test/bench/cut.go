//go:build bench

package bench

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// onHosts is a setup whose nodes and members of etcd have hosts of their own, and whose
// client gives a server up that does not answer: one that is cut off never says so.
func onHosts(s setup) setup {
	s.hosts, s.patience = true, report.Patience*time.Millisecond
	return s
}

// nodeCutOff takes the primary's node off the network, by its link, and plugs it in again.
// The client, the other nodes and etcd reach each other as before.
func nodeCutOff() fault {
	var plug func() error
	return fault{
		watch: pastLease,
		hit: func(_ context.Context, _ system, leader member) (err error) {
			plug, err = lan.Unplug(leader.name())
			return err
		},
		heal: func(context.Context, system, member) error { return plug() },
	}
}

// inside tells that this is the bench within namespaces of its own, which measures the rows
// on hosts and no others.
func inside() bool { return lan.At() == lan.Inside }

// callInside has this program measure a group of rows on hosts: run once more, in
// namespaces that go with it. It adds its trials to the same file.
func (b *bench) callInside(g group) {
	var rows []string
	for _, w := range b.pending(g, report.Keeper, b.options.build) {
		if !slices.Contains(rows, w.row.ID) {
			rows = append(rows, w.row.ID)
		}
	}
	switch {
	case len(rows) == 0:
		return
	case os.Geteuid() != 0:
		b.Logf("%s: skipped: needs root, for network namespaces: run the bench as root", strings.Join(rows, ", "))
		return
	}
	if err := b.machine.stop(); err != nil { // the one inside looks; two would write twice as much
		b.Fatal(err)
	}
	code, err := lan.Call("BENCH_ROWS="+strings.Join(rows, " "), "BENCH_PEER=", "BENCH_FRESH=", testbed.BinaryVariable+"="+b.options.program)
	if err != nil || code != 0 {
		b.Errorf("%s: exit code %d, error %v", strings.Join(rows, ", "), code, err)
	}
	if b.machine, err = b.programs.watchMachine(b.dir); err != nil {
		b.Fatal(err)
	}
	if b.results, err = report.Read(b.options.out); err != nil {
		b.Fatal(err)
	}
}
