package cluster

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the write-ahead log. The zero value means unknown:
// PostgreSQL never writes a record at 0/0 (InvalidXLogRecPtr).
type LSN uint64

// ParseLSN reads PostgreSQL's text form, two hexadecimal halves joined by a
// slash ("0/3000148"). PostgreSQL 19 zero-pads the low half; both forms parse.
func ParseLSN(s string) (LSN, error) {
	high, low, found := strings.Cut(s, "/")
	if !found {
		return 0, fmt.Errorf("parse lsn %q: want two hexadecimal numbers joined by a slash, such as 0/3000148", s)
	}
	h, err := parseHalf(high)
	if err != nil {
		return 0, fmt.Errorf("parse lsn %q: high half: %w", s, err)
	}
	l, err := parseHalf(low)
	if err != nil {
		return 0, fmt.Errorf("parse lsn %q: low half: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// parseHalf accepts 1 to 8 hexadecimal digits and nothing else: ParseUint alone
// would let a sign or an underscore through in some bases.
func parseHalf(s string) (uint64, error) {
	if s == "" || len(s) > 8 {
		return 0, fmt.Errorf("%q is not 1 to 8 hexadecimal digits", s)
	}
	for _, c := range []byte(s) {
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return 0, fmt.Errorf("%q is not 1 to 8 hexadecimal digits", s)
		}
	}
	return strconv.ParseUint(s, 16, 64)
}

// String gives PostgreSQL's text form.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xFFFFFFFF) }

// Known reports whether the position was ever learnt.
func (l LSN) Known() bool { return l != 0 }

// Behind is how many bytes l lies behind other; 0 when it does not.
func (l LSN) Behind(other LSN) uint64 {
	if other <= l {
		return 0
	}
	return uint64(other - l)
}

// Timeline numbers a history of the write-ahead log; a promotion starts a new
// one. The zero value means unknown.
type Timeline uint32

// Position is a place in the write-ahead log of one history. A longer log on an
// older timeline is older than a shorter one on a newer timeline (SAFETY trap 6).
type Position struct {
	Timeline Timeline `json:"timeline"`
	LSN      LSN      `json:"lsn"`
}

// Compare orders positions by timeline first: -1 when p is older than other, 0
// when equal, +1 when newer. It is only meaningful while timeline numbers are
// used by one term each (S8).
func (p Position) Compare(other Position) int {
	return cmp.Or(cmp.Compare(p.Timeline, other.Timeline), cmp.Compare(p.LSN, other.LSN))
}

// String shows a position as timeline@lsn.
func (p Position) String() string { return fmt.Sprintf("%d@%s", p.Timeline, p.LSN) }
