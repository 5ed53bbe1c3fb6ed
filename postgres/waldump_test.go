package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// waldump15 is what pg_waldump 15 printed for a few transactions on two tables:
// 16384 existed before, 16389 is made here.
const waldump15 = `rmgr: Heap        len (rec/tot):    103/   103, tx:        725, lsn: 0/0151ECD8, prev 0/0151E890, desc: INSERT+INIT off 1 flags 0x00, blkref #0: rel 1663/5/16384 blk 0
rmgr: Heap        len (rec/tot):    103/   103, tx:        725, lsn: 0/0151ED40, prev 0/0151ECD8, desc: INSERT off 2 flags 0x00, blkref #0: rel 1663/5/16384 blk 0
rmgr: Transaction len (rec/tot):     34/    34, tx:        725, lsn: 0/0151EE10, prev 0/0151EDA8, desc: COMMIT 2026-11-28 13:50:50.956554 UTC
rmgr: Heap        len (rec/tot):     69/    69, tx:        727, lsn: 0/0151EE38, prev 0/0151EE10, desc: HOT_UPDATE off 1 xmax 727 flags 0x40 ; new off 4 xmax 0, blkref #0: rel 1663/5/16384 blk 0
rmgr: Heap        len (rec/tot):     54/    54, tx:        728, lsn: 0/0151EE80, prev 0/0151EE38, desc: DELETE off 2 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16384 blk 0
rmgr: Transaction len (rec/tot):     50/    50, tx:        726, lsn: 0/0151EEB8, prev 0/0151EE80, desc: COMMIT 2026-11-28 13:50:50.957566 UTC; subxacts: 727 728
rmgr: Heap        len (rec/tot):     59/    59, tx:        729, lsn: 0/0151EEF0, prev 0/0151EEB8, desc: INSERT off 5 flags 0x00, blkref #0: rel 1663/5/16384 blk 0
rmgr: Transaction len (rec/tot):     34/    34, tx:        729, lsn: 0/0151EF30, prev 0/0151EEF0, desc: ABORT 2026-11-28 13:50:50.957720 UTC
rmgr: Storage     len (rec/tot):     42/    42, tx:        731, lsn: 0/0151F228, prev 0/0151F1F8, desc: CREATE base/5/16389
rmgr: Heap        len (rec/tot):     59/    59, tx:        731, lsn: 0/01535A70, prev 0/01535A28, desc: INSERT+INIT off 1 flags 0x00, blkref #0: rel 1663/5/16389 blk 0
rmgr: Transaction len (rec/tot):    405/   405, tx:        731, lsn: 0/01535AB0, prev 0/01535A70, desc: COMMIT 2026-11-28 13:50:50.965358 UTC; inval msgs: catcache 80 catcache 79
rmgr: Heap2       len (rec/tot):     64/  8256, tx:          0, lsn: 0/014FA138, prev 0/014FA0F0, desc: VISIBLE cutoff xid 720 flags 0x01, blkref #0: rel 1664/0/1262 fork vm blk 0 FPW, blkref #1: rel 1664/0/1262 blk 0
rmgr: Heap2       len (rec/tot):     98/    98, tx:        732, lsn: 0/01535C48, prev 0/01535AB0, desc: MULTI_INSERT 3 tuples flags 0x02, blkref #0: rel 1663/5/16384 blk 0
rmgr: Transaction len (rec/tot):     34/    34, tx:        732, lsn: 0/01535CB0, prev 0/01535C48, desc: COMMIT 2026-11-28 13:50:51.022005 UTC
rmgr: Heap        len (rec/tot):     59/    59, tx:        733, lsn: 0/01535CE0, prev 0/01535CB0, desc: INSERT off 5 flags 0x00, blkref #0: rel 1663/5/16384 blk 0
`

func tally(text string) (*walTally, cluster.Lost) {
	t := newWalTally()
	for line := range strings.Lines(text) {
		t.record(strings.TrimSpace(line))
	}
	var lost cluster.Lost
	t.lost(&lost)
	return t, lost
}

func TestCommittedTransactionsAndTheirRowsAreCounted(t *testing.T) {
	counted, got := tally(waldump15)
	want := cluster.Lost{Transactions: 4, FirstCommit: "2026-11-28T13:50:50.956554Z", LastCommit: "2026-11-28T13:50:51.022005Z", Tables: []cluster.LostTable{
		{Relation: "1663/5/16384", Inserted: 5, Updated: 1, Deleted: 1},
		{Relation: "1663/5/16389", Created: true, Inserted: 1},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if counted.end != 0x1535CE0 {
		t.Errorf("the last record is at %s", counted.end)
	}
	if len(counted.open) != 1 {
		t.Errorf("open transactions: %v", counted.open)
	}
}

func TestPreparedTransactionsCountWhenTheyAreCommitted(t *testing.T) {
	const head = "rmgr: Transaction len (rec/tot):     34/    34, tx:          0, lsn: 0/0151EE10, prev 0/0151EDA8, desc: "
	const row = "rmgr: Heap        len (rec/tot):    103/   103, tx:        %, lsn: 0/0151ECD8, prev 0/0151E890, desc: INSERT off 1 flags 0x00, blkref #0: rel 1663/5/16384 blk 0\n"
	_, got := tally(strings.ReplaceAll(row, "%", "735") + strings.ReplaceAll(row, "%", "736") +
		head + "COMMIT_PREPARED 735: 2026-11-28 13:50:50.956554 UTC\n" + head + "ABORT_PREPARED 736: 2026-11-28 13:50:50.956554 UTC\n" +
		head + "COMMIT 2026-11-28 13:50:50.956554 UTC; inval msgs: catcache 21")
	if got.Transactions != 1 || len(got.Tables) != 1 || got.Tables[0].Inserted != 1 {
		t.Errorf("counted %+v", got)
	}
}

func TestTheFormsOfNewerVersionsAreRead(t *testing.T) {
	_, got := tally(`rmgr: Heap2       len (rec/tot):     98/    98, tx:        732, lsn: 0/01535C48, prev 0/01535AB0, desc: MULTI_INSERT ntuples: 3, flags: 0x02, offsets: [2, 3, 4], blkref #0: rel 1663/5/16384 blk 0
rmgr: Heap        len (rec/tot):     54/    54, tx:        732, lsn: 0/01535C90, prev 0/0151EE38, desc: DELETE xmax: 732, off: 2, infobits: [KEYS_UPDATED], flags: 0x00, blkref #0: rel 1663/5/16384 blk 0
rmgr: Transaction len (rec/tot):     34/    34, tx:        732, lsn: 0/01535CB0, prev 0/01535C48, desc: COMMIT 2026-11-28 13:50:51.022005 UTC`)
	if got.Transactions != 1 || len(got.Tables) != 1 || got.Tables[0].Inserted != 3 || got.Tables[0].Deleted != 1 {
		t.Errorf("counted %+v", got)
	}
}

func TestTheEndOfWALIsReadFromWhatPgWaldumpSaysLast(t *testing.T) {
	for said, want := range map[string]struct {
		at             cluster.LSN
		ended, missing bool
	}{
		"pg_waldump: error: error in WAL record at 0/1535CB0: invalid record length at 0/1535CD8: wanted 24, got 0":   {0x1535CD8, true, false},
		"pg_waldump: error: could not find a valid record after 0/15A0000":                                            {0x15A0000, true, true},
		`pg_waldump: error: could not find file "000000010000000000000009": No such file or directory`:                {0, true, true},
		"pg_waldump: error: could not open directory \"/x/pg_wal\": Permission denied":                                {0, false, false},
		"pg_waldump: error: error in WAL record at 0/19F0028: record with incorrect prev-link 0/60 at 0/19F0098 here": {0x19F0098, true, false},
	} {
		at, ended, missing := endOfWAL(said)
		if at != want.at || ended != want.ended || missing != want.missing {
			t.Errorf("%s: %s, %t, %t", said, at, ended, missing)
		}
	}
}

func TestPathsAndRecordsNameARelationAlike(t *testing.T) {
	for path, want := range map[string]string{
		"base/5/16384": "1663/5/16384", "pg_tblspc/16400/PG_15_202209061/5/16384": "16400/5/16384", "global/1262": "global/1262", "": "",
	} {
		if got := relationOfPath(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

func FuzzWaldump(f *testing.F) {
	for line := range strings.Lines(waldump15) {
		f.Add(strings.TrimSpace(line))
	}
	f.Add(waldump15)
	f.Add("rmgr: Heap2 len (rec/tot): 9/9, tx: 7, lsn: 0/1, prev 0/0, desc: MULTI_INSERT ntuples: 3, flags: 0x02, blkref #0: rel 1/2/3 blk 0")
	f.Add("rmgr: Transaction len, tx: 0, lsn: 0/1, desc: COMMIT_PREPARED 735: 2026-11-28 13:50:50.956554 UTC; subxacts: 1 2; sync")
	f.Add("pg_waldump: error: error in WAL record at 0/1535CB0: invalid record length at 0/1535CD8: wanted 24, got 0")
	f.Fuzz(func(t *testing.T, text string) {
		counted, lost := tally(text)
		if counted.transactions < 0 || counted.transactions > strings.Count(text, "COMMIT") {
			t.Fatalf("%d transactions in %q", counted.transactions, text)
		}
		for _, table := range lost.Tables {
			if table.Inserted < 0 || table.Updated < 0 || table.Deleted < 0 || strings.Count(table.Relation, "/") != 2 {
				t.Fatalf("%+v", table)
			}
		}
		if at, ended, _ := endOfWAL(text); at != 0 && !ended {
			t.Fatalf("an end at %s without one", at)
		}
	})
}
