package pgrw

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// LSN is a position in the WAL, in bytes; 0 is none.
type LSN uint64

// String is PostgreSQL's form, such as 0/3000148.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xffffffff) }

// ParseLSN reads PostgreSQL's form.
func ParseLSN(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if !found || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("%q is no LSN (such as 0/3000148)", text)
	}
	return LSN(h<<32 | l), nil
}

// Token names a point in the history of a cluster: a server whose history holds that
// point shows every write that was committed before the token was taken. The zero
// value demands nothing. Tokens compare with ==; their text form goes where text goes:
// headers, cookies, messages, rows. It is no secret, and whoever makes one up gains a
// slower read, or an error after a second.
type Token struct {
	// System is the system identifier of the cluster, 0 where it could not be read.
	System uint64
	// Timeline and LSN are the position. One number of a timeline is one history.
	Timeline uint32
	LSN      LSN
}

// pinned is the position of a token for a commit whose position could not be learnt: no
// replica of its timeline satisfies it, so the primary answers.
const pinned = LSN(math.MaxUint64)

// tokenVersion begins the text form.
const tokenVersion = "1"

var errToken = errors.New("not a token of pgrw")

// IsZero reports whether the token demands nothing.
func (t Token) IsZero() bool { return t == Token{} }

// String is the text form: letters, digits and dashes; empty for the zero token.
func (t Token) String() string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s-%x-%x-%x", tokenVersion, t.System, t.Timeline, uint64(t.LSN))
}

// MarshalText is String.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseToken.
func (t *Token) UnmarshalText(text []byte) error {
	parsed, err := ParseToken(string(text))
	if err == nil {
		*t = parsed
	}
	return err
}

// ParseToken reads the text form; the empty text is the zero token.
func ParseToken(text string) (Token, error) {
	if text == "" {
		return Token{}, nil
	}
	parts := strings.Split(text, "-")
	if len(parts) != 4 || parts[0] != tokenVersion {
		return Token{}, fmt.Errorf("%w: %.64q", errToken, text)
	}
	system, errSystem := strconv.ParseUint(parts[1], 16, 64)
	timeline, errTimeline := strconv.ParseUint(parts[2], 16, 32)
	lsn, errLSN := strconv.ParseUint(parts[3], 16, 64)
	if err := errors.Join(errSystem, errTimeline, errLSN); err != nil {
		return Token{}, fmt.Errorf("%w: %.64q", errToken, text)
	}
	t := Token{System: system, Timeline: uint32(timeline), LSN: LSN(lsn)}
	if t.Timeline == 0 || t.LSN == 0 {
		return Token{}, fmt.Errorf("%w: %.64q has no position", errToken, text)
	}
	return t, nil
}

// Later returns the token that demands more: of one cluster the later position, a
// higher timeline counting more than any LSN; of two clusters the other.
func (t Token) Later(other Token) Token {
	switch {
	case other.IsZero():
		return t
	case t.IsZero(), t.System != other.System && t.System != 0 && other.System != 0:
		return other
	case t.Timeline != other.Timeline:
		if t.Timeline > other.Timeline {
			return t
		}
		return other
	case t.LSN >= other.LSN:
		return t
	}
	return other
}

// walPage and shortHeader are PostgreSQL's: a page of WAL begins with a header.
const (
	walPage     = 8192
	shortHeader = 24
)

// settled moves an insert position that stands right behind a page's header before it.
// No record ends there, so both name the same records; but a standby that has replayed
// all of them reports the position before the header, until the next record comes.
func settled(insert LSN) LSN {
	if insert%walPage == shortHeader {
		return insert - shortHeader
	}
	return insert
}
