package postgres

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestControlFilesOfEveryVersionAreRead(t *testing.T) {
	want := Control{
		ControlData: cluster.ControlData{State: cluster.ControlShutdown, SystemID: "7268616322854375442", Timeline: 3,
			Checkpoint: 0x3000148, Redo: 0x3000110, Checksums: true, MaxConnections: 150},
		CatalogVersion: 202209061, SegmentSize: 16 << 20, BlockSize: 8192,
	}
	for _, v := range versions {
		got, err := ParseControl(controlBytes(v.control, nil))
		if err != nil {
			t.Errorf("PostgreSQL %d: %v", v.major, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("PostgreSQL %d (-want +got):\n%s", v.major, diff)
		}
	}
}

func TestADamagedControlFileIsNotBelieved(t *testing.T) {
	damaged := controlBytes(1300, nil)
	damaged[atTimeline]++
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"one bit differs":       {damaged, ErrControl},
		"too short":             {make([]byte, 200), ErrControl},
		"empty":                 {nil, ErrControl},
		"of an unknown version": {controlBytes18As(1900), ErrVersion},
		"of the other byte order": {func() []byte {
			raw := controlBytes(1300, nil)
			raw[8], raw[9], raw[10], raw[11] = raw[11], raw[10], raw[9], raw[8]
			return raw
		}(), ErrVersion},
	} {
		if _, err := ParseControl(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func controlBytes18As(format uint32) []byte {
	raw := controlBytes(1800, nil)
	binary.NativeEndian.PutUint32(raw[8:], format)
	return raw
}

func FuzzParseControl(f *testing.F) {
	f.Add(controlBytes(1300, nil))
	f.Add(controlBytes(1800, nil))
	f.Add([]byte("not a control file"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseControl(raw)
		if err != nil {
			if diff := cmp.Diff(Control{}, c); diff != "" {
				t.Errorf("an error came with a value: %s", diff)
			}
			return
		}
		_ = c.State.String()
		_, _ = checkpointEnd(t.TempDir(), c)
	})
}

func TestARecordsEndCountsPageHeadersAndIsRoundedUp(t *testing.T) {
	const page, segment = 8192, 1 << 20
	for name, c := range map[string]struct{ at, length, want uint64 }{
		"inside a page":               {0x28, 114, 0x28 + 120},
		"a multiple of eight already": {0x28, 112, 0x28 + 112},
		"up to the page's last byte":  {page - 112, 112, page},
		"across a page":               {page - 16, 114, page + shortPageHeader + 104},
		"across two pages":            {page - 16, 16 + page - shortPageHeader + 8, 2*page + shortPageHeader + 8},
		"into the next file":          {segment - 16, 114, segment + longPageHeader + 104},
	} {
		if got := recordEnd(cluster.LSN(c.at), c.length, page, segment); got != cluster.LSN(c.want) {
			t.Errorf("%s: ends at %s, want %s", name, got, cluster.LSN(c.want))
		}
	}
}

// segmentFile writes a WAL file that holds one checkpoint record.
func segmentFile(t *testing.T, c Control, length uint32, rmid byte) string {
	t.Helper()
	dir := t.TempDir()
	order := binary.NativeEndian
	raw := make([]byte, c.SegmentSize)
	order.PutUint64(raw[8:], uint64(c.Checkpoint)/uint64(c.SegmentSize)*uint64(c.SegmentSize))
	order.PutUint64(raw[24:], 7268616322854375442)
	at := uint64(c.Checkpoint) % uint64(c.SegmentSize)
	order.PutUint32(raw[at:], length)
	if at%8192+recordHeader <= 8192 {
		raw[at+17] = rmid
	}
	if err := os.WriteFile(filepath.Join(dir, segmentName(c.Timeline, c.Checkpoint, uint64(c.SegmentSize))), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheCheckpointsEndIsReadFromTheWAL(t *testing.T) {
	c, err := ParseControl(controlBytes(1300, func(raw []byte) { binary.NativeEndian.PutUint32(raw[atXlogSegSize:], 1<<20) }))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := checkpointEnd(segmentFile(t, c, 114, 0), c); err != nil || got != c.Checkpoint+120 {
		t.Errorf("end is %s, %v", got, err)
	}
	crossing := c
	crossing.Checkpoint = 0x3002000 - 16
	if got, err := checkpointEnd(segmentFile(t, crossing, 114, 0), crossing); err != nil || got != 0x3002000+24+104 {
		t.Errorf("end across a page is %s, %v", got, err)
	}
	foreign := c
	foreign.SystemID = "1"
	for name, try := range map[string]func() (cluster.LSN, error){
		"no file":           func() (cluster.LSN, error) { return checkpointEnd(t.TempDir(), c) },
		"another record":    func() (cluster.LSN, error) { return checkpointEnd(segmentFile(t, c, 114, 10), c) },
		"a zeroed record":   func() (cluster.LSN, error) { return checkpointEnd(segmentFile(t, c, 0, 0), c) },
		"a recycled file":   func() (cluster.LSN, error) { return checkpointEnd(segmentFile(t, foreign, 114, 0), foreign) },
		"an absurd segment": func() (cluster.LSN, error) { odd := c; odd.SegmentSize = 12345; return checkpointEnd(t.TempDir(), odd) },
	} {
		if end, err := try(); err == nil || end != 0 {
			t.Errorf("%s: end %s, %v", name, end, err)
		}
	}
}

func TestSegmentsAreNamedAsPostgreSQLNamesThem(t *testing.T) {
	for want, c := range map[string]struct {
		tl   cluster.Timeline
		lsn  cluster.LSN
		size uint64
	}{
		"000000010000000000000003": {1, 0x3000148, 16 << 20},
		"0000000A00000002000000FF": {10, 0x2FF000000, 16 << 20},
		"000000010000000100000001": {1, 0x140000000, 1 << 30},
	} {
		if got := segmentName(c.tl, c.lsn, c.size); got != want {
			t.Errorf("%s is named %s, want %s", c.lsn, got, want)
		}
	}
}

func TestDiskTellsWhatTheDirectoryIs(t *testing.T) {
	valid := func(t *testing.T, s *Server) {
		s.put(t, "PG_VERSION", "15\n")
		s.put(t, "global/pg_control", string(controlBytes(1300, nil)))
	}
	for name, c := range map[string]struct {
		make func(*testing.T, *Server)
		want cluster.DataDir
	}{
		"absent":         {func(*testing.T, *Server) {}, cluster.DataEmpty},
		"without files":  {func(t *testing.T, s *Server) { s.put(t, "x", ""); _ = os.Remove(s.data("x")) }, cluster.DataEmpty},
		"valid":          {valid, cluster.DataValid},
		"no PG_VERSION":  {func(t *testing.T, s *Server) { valid(t, s); _ = os.Remove(s.data("PG_VERSION")) }, cluster.DataBroken},
		"no pg_control":  {func(t *testing.T, s *Server) { s.put(t, "PG_VERSION", "15\n") }, cluster.DataBroken},
		"other contents": {func(t *testing.T, s *Server) { s.put(t, "holiday.jpg", "") }, cluster.DataBroken},
		"torn pg_control": {func(t *testing.T, s *Server) {
			valid(t, s)
			s.put(t, "global/pg_control", string(controlBytes(1300, nil)[:100]))
		}, cluster.DataBroken},
		"interrupted clone": {func(t *testing.T, s *Server) {
			valid(t, s)
			s.put(t, "backup_label", "LABEL: pgkeeper-A\n")
			buried(t, s, Tombstone{Kind: TombstoneClone, Label: "pgkeeper-A"})
		}, cluster.DataTombstone},
		"interrupted rewind": {func(t *testing.T, s *Server) {
			valid(t, s)
			buried(t, s, Tombstone{Kind: TombstoneRewind})
		}, cluster.DataDamaged},
		"a copy restored where a clone was interrupted": {func(t *testing.T, s *Server) {
			valid(t, s)
			buried(t, s, Tombstone{Kind: TombstoneClone, Label: "pgkeeper-A"})
		}, cluster.DataValid},
		"tombstone over nothing": {func(t *testing.T, s *Server) {
			buried(t, s, Tombstone{Kind: TombstoneInit})
		}, cluster.DataEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			s := bare(t)
			c.make(t, s)
			n, err := s.Disk(t.Context())
			if err != nil || n.Data != c.want || n.Mode != cluster.ModeStopped {
				t.Errorf("found %s, mode %s, %v; want %s", n.Data, n.Mode, err, c.want)
			}
			if known := n.SystemID != "" && n.Timeline != 0; known != (c.want == cluster.DataValid || c.want == cluster.DataDamaged) {
				t.Errorf("it is of system %q, timeline %d", n.SystemID, n.Timeline)
			}
		})
	}
}

func TestADirectoryThatCannotBeLookedAtIsAnErrorAndNotEmpty(t *testing.T) {
	s := bare(t)
	if err := os.WriteFile(s.o.DataDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Disk(t.Context()); err == nil || n.Data != cluster.DataUnknown {
		t.Errorf("a file in place of the directory: %s, %v", n.Data, err)
	}
}

func TestTheTimelineOfACrashedNewPrimaryIsTheOneItPromotedTo(t *testing.T) {
	s := bare(t)
	s.put(t, "PG_VERSION", "15\n")
	s.put(t, "pg_wal/00000005.history", "3\t0/3000148\tno recovery target specified\n")
	s.put(t, "global/pg_control", string(controlBytes(1300, func(raw []byte) {
		binary.NativeEndian.PutUint32(raw[atState:], uint32(cluster.ControlInProduction))
		binary.NativeEndian.PutUint32(raw[atMinRecoveryTLI:], 5)
	})))
	n, err := s.Disk(t.Context())
	if err != nil || n.Timeline != 5 || len(n.TimelineHistory) != 1 || n.TimelineHistory[0].Switch != 0x3000148 {
		t.Errorf("timeline %d, history %v, %v", n.Timeline, n.TimelineHistory, err)
	}
}
