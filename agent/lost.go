package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// keepLost keeps and counts the WAL that a rejoin is about to take away, and tells
// the log: it is the only time anybody learns what a failover cost. A failure to
// keep it is told too, and does not keep the node from rejoining: what is in it is
// lost to the cluster in any case, and a node that is away is a danger to the rest.
// Only the end of ctx is an error. id names what was kept, empty for nothing.
func (n *Node) keepLost(ctx context.Context, do OnJob, up election.Upstream, info postgres.SourceInfo, by string) (id string, err error) {
	n.post(JobProgress{Text: "keeping the WAL that " + up.Member + " does not have"})
	lost, found, err := n.pg.KeepLost(ctx, postgres.Losing{Node: do.Node, Info: info, Source: n.source(up, do.Settings), Member: up.Member,
		By: by, Limit: n.local.Load().Keeper.LostWALSize})
	n.loadLost()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		n.log.Warn("abandoned wal not kept", "member", n.name(), "error", err.Error())
		return "", nil
	case lost.ID == "": // nobody looked
		return "", nil
	case !found:
		n.log.Info("no transaction is lost", "member", n.name(), "timeline", uint32(lost.Timeline), "lsn", cluster.LSN(lost.From).String())
		return "", nil
	}
	told := fmt.Sprint(lost.ID, lost.Transactions, lost.Note)
	if told == n.toldLost { // another try of the same rejoin
		return lost.ID, nil
	}
	n.toldLost = told
	n.log.Warn("abandoned wal kept", "member", n.name(), "timeline", uint32(lost.Timeline), "lsn", cluster.LSN(lost.From).String(),
		"until", cluster.LSN(lost.To).String(), "transactions", lost.Transactions, "tables", tablesInWords(lost), "files", len(lost.Files), "note", lost.Note)
	return lost.ID, nil
}

// tablesInWords names the first few tables; the summary has all.
func tablesInWords(lost cluster.Lost) string {
	const most = 10
	names := make([]string, 0, most+1)
	for i, t := range lost.Tables {
		if i == most {
			names = append(names, "...")
			break
		}
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// loadLost reads the summaries anew, so that they are answered from memory.
func (n *Node) loadLost() {
	if n.readLost == nil {
		return
	}
	all, err := n.readLost()
	if err != nil {
		n.log.Warn("summaries of abandoned wal not read", "error", err.Error())
		return
	}
	n.lost.Store(&all)
}

// Lost is what is known of WAL this member had and the cluster has not, newest
// first. It is asked without waiting.
func (n *Node) Lost() []cluster.Lost {
	if all := n.lost.Load(); all != nil {
		return *all
	}
	return nil
}
