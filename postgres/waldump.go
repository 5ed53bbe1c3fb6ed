package postgres

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// walTally counts what pg_waldump prints, one line after the other: transactions
// that were committed and the rows they changed, by relation. What a transaction
// did counts when its commit comes, so that one that was rolled back or never
// ended counts for nothing.
type walTally struct {
	transactions int
	first, last  time.Time
	// end is the position of the last record seen.
	end cluster.LSN
	// tables are changes of committed transactions, open those of the others.
	tables map[string]rowCounts
	open   map[string]map[string]rowCounts
	// created are relations whose file was made in this WAL.
	created map[string]bool
}

// rowCounts are rows changed in one relation.
type rowCounts struct{ inserted, updated, deleted int }

func newWalTally() *walTally {
	return &walTally{tables: map[string]rowCounts{}, open: map[string]map[string]rowCounts{}, created: map[string]bool{}}
}

// record reads one line. What is no record, or one of no interest, is passed over.
//
//	rmgr: Heap        len (rec/tot):     54/   222, tx:        721, lsn: 0/014F9F28, prev 0/014F9EE0, desc: INSERT off 2 flags 0x01, blkref #0: rel 1664/0/2396 blk 0 FPW
func (t *walTally) record(line string) {
	rest, is := strings.CutPrefix(line, "rmgr: ")
	if !is {
		return
	}
	manager, rest, _ := strings.Cut(rest, " ")
	xid, rest := between(rest, "tx:", ",")
	at, rest := between(rest, "lsn: ", ",")
	_, desc, found := strings.Cut(rest, "desc: ")
	lsn, err := cluster.ParseLSN(at)
	if !found || err != nil {
		return
	}
	t.end = max(t.end, lsn)
	operation, details := cutSpace(desc)
	operation = strings.TrimSuffix(operation, "+INIT")
	switch manager {
	case "Transaction":
		t.transaction(operation, xid, details)
	case "Heap", "Heap2":
		t.rows(operation, xid, details)
	case "Storage":
		if operation == "CREATE" {
			t.created[relationOfPath(details)] = true
		}
	}
}

// between is what stands between two marks, without blanks around it, and what
// comes after.
func between(text, begin, end string) (found, rest string) {
	_, text, _ = strings.Cut(text, begin)
	found, rest, _ = strings.Cut(text, end)
	return strings.TrimSpace(found), rest
}

// transaction takes note of an end. The commit of a prepared one names it itself:
// "COMMIT_PREPARED 735: 2026-...".
func (t *walTally) transaction(operation, xid, details string) {
	if operation == "COMMIT_PREPARED" || operation == "ABORT_PREPARED" {
		xid, details, _ = strings.Cut(details, ": ")
	}
	members := []string{xid}
	if _, list, has := strings.Cut(details, "subxacts: "); has {
		list, _, _ = strings.Cut(list, ";")
		members = append(members, strings.Fields(list)...)
	}
	committed := operation == "COMMIT" || operation == "COMMIT_PREPARED"
	if !committed && operation != "ABORT" && operation != "ABORT_PREPARED" {
		return
	}
	if committed && xid != "0" { // without a number it changed nothing that anybody keeps
		t.transactions++
		t.commitAt(details)
	}
	for _, member := range members {
		if committed {
			for relation, n := range t.open[member] {
				t.add(t.tables, relation, n)
			}
		}
		delete(t.open, member)
	}
}

// commitAt notes the time of a commit, which pg_waldump writes in our time zone,
// UTC.
func (t *walTally) commitAt(details string) {
	stamp, _, _ := strings.Cut(details, ";")
	at, err := time.Parse("2006-01-02 15:04:05.999999 MST", strings.TrimSpace(stamp))
	if err != nil {
		return
	}
	if t.first.IsZero() || at.Before(t.first) {
		t.first = at
	}
	if at.After(t.last) {
		t.last = at
	}
}

// rows counts a change of rows. Records that only lock, prune or freeze are none.
func (t *walTally) rows(operation, xid, details string) {
	var n rowCounts
	switch operation {
	case "INSERT":
		n.inserted = 1
	case "UPDATE", "HOT_UPDATE":
		n.updated = 1
	case "DELETE":
		n.deleted = 1
	case "MULTI_INSERT":
		n.inserted = tuples(details)
	default:
		return
	}
	_, block, has := strings.Cut(details, "blkref #0: rel ")
	relation, _, _ := strings.Cut(block, " ")
	if !has || strings.Count(relation, "/") != 2 {
		return
	}
	if t.open[xid] == nil {
		t.open[xid] = map[string]rowCounts{}
	}
	t.add(t.open[xid], relation, n)
}

func (t *walTally) add(to map[string]rowCounts, relation string, n rowCounts) {
	sum := to[relation]
	to[relation] = rowCounts{sum.inserted + n.inserted, sum.updated + n.updated, sum.deleted + n.deleted}
}

// tuples is how many rows a MULTI_INSERT has: "3 tuples flags 0x02" before
// PostgreSQL 16, "ntuples: 3, flags: 0x02" since.
func tuples(details string) int {
	number, _ := cutSpace(details)
	if number == "ntuples:" {
		number, _ = between(details, "ntuples:", ",")
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// defaultSpace is pg_default, which a path writes as "base".
const defaultSpace = "1663"

// relationOfPath turns a file's path into the numbers that other records have:
// base/5/16384, pg_tblspc/16400/PG_15_202209061/5/16384, global/1262.
func relationOfPath(path string) string {
	path, _ = cutSpace(strings.TrimSpace(path))
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 3 && parts[0] == "base":
		return defaultSpace + "/" + parts[1] + "/" + parts[2]
	case len(parts) == 5 && parts[0] == "pg_tblspc":
		return parts[1] + "/" + parts[3] + "/" + parts[4]
	}
	return path
}

// lost is the tally as others read it, busiest relation first.
func (t *walTally) lost(into *cluster.Lost) {
	into.Transactions = t.transactions
	into.FirstCommit, into.LastCommit = stampOf(t.first), stampOf(t.last)
	into.Tables = []cluster.LostTable{}
	for relation, n := range t.tables {
		into.Tables = append(into.Tables, cluster.LostTable{Relation: relation, Created: t.created[relation],
			Inserted: n.inserted, Updated: n.updated, Deleted: n.deleted})
	}
	slices.SortFunc(into.Tables, func(a, b cluster.LostTable) int {
		return cmp.Or(cmp.Compare(changes(b), changes(a)), cmp.Compare(a.Relation, b.Relation))
	})
}

func changes(t cluster.LostTable) int { return t.Inserted + t.Updated + t.Deleted }

func stampOf(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// The end of all WAL is where pg_waldump gives up: it says so as an error, and
// names the place. Anything else it says is a failure.
var (
	walEnds = whenUsed(`(?:invalid|incorrect|unexpected|zero-length|there is no contrecord flag|record with|out-of-sequence|contrecord is requested|could not find a valid record after|missing contrecord|could not find file).*`)
	walAt   = regexp.MustCompile(`\b([0-9A-F]{1,8}/[0-9A-F]{1,8})\b`)
)

// endOfWAL finds in pg_waldump's last words how far the WAL reached; missing tells
// that a file was not there at all.
func endOfWAL(said string) (at cluster.LSN, ended, missing bool) {
	if !walEnds().MatchString(said) {
		return 0, false, false
	}
	missing = strings.Contains(said, "could not find file") || strings.Contains(said, "could not find a valid record after")
	for _, text := range walAt.FindAllString(said, -1) {
		if lsn, err := cluster.ParseLSN(text); err == nil {
			at = max(at, lsn)
		}
	}
	return at, true, missing
}
