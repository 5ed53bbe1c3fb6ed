package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Sizes of what stands in a WAL file between the records.
const (
	shortPageHeader = 24 // at the begin of every page
	longPageHeader  = 40 // at the begin of a file's first page
	recordHeader    = 24
	// maxCheckpoint bounds what is believed to be a checkpoint record; real ones
	// have about 114 bytes.
	maxCheckpoint = 4096
)

// segmentName names the WAL file that holds lsn.
func segmentName(tl cluster.Timeline, lsn cluster.LSN, size uint64) string {
	segment, perID := uint64(lsn)/size, uint64(1<<32)/size
	return fmt.Sprintf("%08X%08X%08X", uint32(tl), segment/perID, segment%perID)
}

// checkpointEnd reads where the last checkpoint record ends. After a clean
// shutdown that is the end of all WAL: a standby that has flushed up to here
// misses nothing. An error means only that it could not be read.
func checkpointEnd(walDir string, c Control) (cluster.LSN, error) {
	size, page := uint64(c.SegmentSize), uint64(c.BlockSize)
	if size < 1<<20 || size&(size-1) != 0 || page < 512 || page&(page-1) != 0 {
		return 0, fmt.Errorf("%w: WAL files of %d bytes with pages of %d", ErrControl, size, page)
	}
	name := segmentName(c.Timeline, c.Checkpoint, size)
	f, err := os.Open(walDir + "/" + name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := checkSegment(f, c); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	var record [recordHeader]byte
	// The first 8 bytes of a record never cross a page; the whole header may, and
	// then its tail is not looked at.
	n, err := f.ReadAt(record[:], int64(uint64(c.Checkpoint)%size))
	if err != nil && !errors.Is(err, io.EOF) || n < 8 {
		return 0, fmt.Errorf("%s: read the checkpoint record at %s: %w", name, c.Checkpoint, err)
	}
	length := uint64(binary.NativeEndian.Uint32(record[:]))
	if length < recordHeader || length > maxCheckpoint {
		return 0, fmt.Errorf("%s: no checkpoint record at %s", name, c.Checkpoint)
	}
	if whole := page - uint64(c.Checkpoint)%page; whole >= recordHeader && !isCheckpoint(record[:n]) {
		return 0, fmt.Errorf("%s: the record at %s is no checkpoint", name, c.Checkpoint)
	}
	return recordEnd(c.Checkpoint, length, page, size), nil
}

// isCheckpoint: resource manager XLOG, and shutdown (0x00) or online (0x10).
func isCheckpoint(record []byte) bool {
	return len(record) == recordHeader && record[17] == 0 && (record[16]&0xF0 == 0x00 || record[16]&0xF0 == 0x10)
}

// checkSegment refuses a recycled file or one of another cluster by the long
// header of its first page.
func checkSegment(f io.ReaderAt, c Control) error {
	var header [longPageHeader]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return fmt.Errorf("read the page header: %w", err)
	}
	order := binary.NativeEndian
	size := uint64(c.SegmentSize)
	if begin := uint64(c.Checkpoint) / size * size; order.Uint64(header[8:]) != begin {
		return fmt.Errorf("it begins at %s, not at %s", cluster.LSN(order.Uint64(header[8:])), cluster.LSN(begin))
	}
	if id := strconv.FormatUint(order.Uint64(header[24:]), 10); id != c.SystemID {
		return fmt.Errorf("it belongs to the system %s, not to %s", id, c.SystemID)
	}
	return nil
}

// recordEnd is where the record of length bytes that begins at lsn ends: page
// headers in its way are not counted in length, and the end is rounded up to 8.
func recordEnd(lsn cluster.LSN, length, page, segment uint64) cluster.LSN {
	at := uint64(lsn)
	for {
		room := page - at%page
		if length <= room {
			at += length
			return cluster.LSN((at + 7) &^ 7)
		}
		length -= room
		at += room
		if at%segment == 0 {
			at += longPageHeader
		} else {
			at += shortPageHeader
		}
	}
}
