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
	if len(member) <= maxSlotName && strings.IndexFunc(member, notInSlots) < 0 {
		return member // as most are; every view asks for every member's
	}
	var b strings.Builder
	for _, r := range strings.ToLower(member) {
		switch {
		case r == '-' || r == '.':
			b.WriteByte('_')
		case !notInSlots(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "u%04d", r)
		}
	}
	name := b.String()
	return name[:min(len(name), maxSlotName)]
}

// notInSlots tells the characters that PostgreSQL does not take in a slot's name.
func notInSlots(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
