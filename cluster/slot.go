package cluster

import (
	"fmt"
	"strings"
)

// maxSlotName is NAMEDATALEN - 1, the longest name PostgreSQL keeps.
const maxSlotName = 63

// SlotName is the physical slot of a member, named as Patroni names it: lower
// case, "-" and "." become "_", anything else outside a-z0-9_ becomes u and its
// code point in four decimal digits, cut to 63 bytes.
func SlotName(member string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(member) {
		switch {
		case r == '-' || r == '.':
			b.WriteByte('_')
		case r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "u%04d", r)
		}
	}
	name := b.String()
	return name[:min(len(name), maxSlotName)]
}
