package postgres

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Control is global/pg_control, read by ourselves: pg_controldata costs a
// process for every look.
type Control struct {
	cluster.ControlData
	// CatalogVersion changes with every major version.
	CatalogVersion uint32
	// SegmentSize is the size of a WAL file and BlockSize of a WAL page, in bytes.
	SegmentSize, BlockSize uint32
}

// Places of the fields in the file, in bytes; what differs by version stands in
// the table of versions. The checkpoint copy begins at 40.
const (
	atState          = 16
	atCheckpoint     = 32
	atRedo           = 40
	atTimeline       = 48
	atMinRecovery    = 136
	atMinRecoveryTLI = 144
	atWalLogHints    = 176
	atMaxConnections = 180
	atMaxWorkers     = 184
	atMaxWalSenders  = 188
	atMaxPrepared    = 192
	atMaxLocks       = 196
	atXlogBlockSize  = 224
	atXlogSegSize    = 228
	atChecksums      = 252
)

// castagnoli is PostgreSQL's CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ParseControl reads the content of pg_control of PostgreSQL 13 to 18, as written
// by a machine of our byte order. Errors are ErrControl or ErrVersion.
func ParseControl(raw []byte) (Control, error) {
	if len(raw) < 300 {
		return Control{}, fmt.Errorf("%w: it has %d bytes, want 8192", ErrControl, len(raw))
	}
	order := binary.NativeEndian
	number := order.Uint32(raw[8:])
	crcAt, known := controlFormat(number)
	if !known {
		return Control{}, fmt.Errorf("%w: pg_control has format %d; known are %d (PostgreSQL 13 to 17) and %d (18)",
			ErrVersion, number, versions[0].control, versions[len(versions)-1].control)
	}
	if want, got := order.Uint32(raw[crcAt:]), crc32.Checksum(raw[:crcAt], castagnoli); want != got {
		return Control{}, fmt.Errorf("%w: its checksum is %08x but its content gives %08x", ErrControl, want, got)
	}
	timeline := func(at int) cluster.Timeline { return cluster.Timeline(order.Uint32(raw[at:])) }
	lsn := func(at int) cluster.LSN { return cluster.LSN(order.Uint64(raw[at:])) }
	setting := func(at int) int { return int(int32(order.Uint32(raw[at:]))) }
	return Control{
		ControlData: cluster.ControlData{
			State:          cluster.ControlState(order.Uint32(raw[atState:])),
			SystemID:       strconv.FormatUint(order.Uint64(raw), 10),
			Timeline:       timeline(atTimeline),
			Checkpoint:     lsn(atCheckpoint),
			Redo:           lsn(atRedo),
			MinRecovery:    lsn(atMinRecovery),
			MinRecoveryTLI: timeline(atMinRecoveryTLI),
			Checksums:      order.Uint32(raw[atChecksums:]) != 0,
			WalLogHints:    raw[atWalLogHints] != 0,
			MaxConnections: setting(atMaxConnections),
			MaxWorkers:     setting(atMaxWorkers),
			MaxWalSenders:  setting(atMaxWalSenders),
			MaxPrepared:    setting(atMaxPrepared),
			MaxLocks:       setting(atMaxLocks),
		},
		CatalogVersion: order.Uint32(raw[12:]),
		SegmentSize:    order.Uint32(raw[atXlogSegSize:]),
		BlockSize:      order.Uint32(raw[atXlogBlockSize:]),
	}, nil
}
