package cluster

import (
	"slices"
	"strconv"
	"strings"
)

// Rule says who must have confirmed a commit before a client was told of it: Need of
// Voters, beside Primary, which has it anyway. Need 0 asks for nobody: such commits
// are asynchronous. A Need that Voters cannot meet lets no commit through.
type Rule struct {
	Primary string   `json:"primary"`
	Voters  []string `json:"voters"`
	Need    int      `json:"need"`
}

// Durability is the record of every rule that commits may have been acknowledged
// under. An election must satisfy them all (SAFETY 3).
type Durability struct {
	// Mode is the synchronous_mode that the newest rule was made for.
	Mode  string `json:"mode"`
	Rules []Rule `json:"rules"`
	// ModRevision comes from the store. Unreadable: there is a record, and nobody knows
	// what it says.
	ModRevision int64 `json:"-"`
	Unreadable  bool  `json:"-"`
}

// Asks reports whether commits wait for anybody.
func (r Rule) Asks() bool { return r.Need > 0 }

// Equal compares rules; the order of voters does not matter.
func (r Rule) Equal(other Rule) bool {
	return r.Need == other.Need && strings.EqualFold(r.Primary, other.Primary) && len(r.Voters) == len(other.Voters) &&
		!slices.ContainsFunc(r.Voters, func(name string) bool { return !other.Lists(name) })
}

// Lists reports whether name is a voter. PostgreSQL compares the names of synchronous
// standbys without regard to case.
func (r Rule) Lists(name string) bool {
	return slices.ContainsFunc(r.Voters, func(v string) bool { return strings.EqualFold(v, name) })
}

// Copies are all who have what was acknowledged under the rule, some of them not
// everything: the voters and the primary.
func (r Rule) Copies() []string {
	if r.Primary == "" || r.Lists(r.Primary) {
		return r.Voters
	}
	return append(slices.Clone(r.Voters), r.Primary)
}

// IsCopy reports whether name is one of Copies.
func (r Rule) IsCopy(name string) bool { return strings.EqualFold(r.Primary, name) || r.Lists(name) }

// Reports is how many copies must be known, and unable to confirm anything more, so
// that one of them has every commit that was acknowledged: with N voters of which k
// confirm, any N-k+1 of the N+1 copies (SAFETY 3). Less than one where nothing can
// have been acknowledged.
func (r Rule) Reports() int { return len(r.Voters) - r.Need + 1 }

// nobody is a name that no standby has: a rule that no commit can meet needs one.
const nobody = "__pgkeeper_no_standby__"

// Names is the rule as a value of synchronous_standby_names: FIRST n where all the
// voters must confirm (synchronous_mode on), ANY n in a quorum; empty where nobody
// must.
func (r Rule) Names(quorum bool) string {
	if !r.Asks() {
		return ""
	}
	voters := r.Voters
	if len(voters) == 0 {
		voters = []string{nobody}
	}
	if !slices.IsSorted(voters) {
		voters = slices.Sorted(slices.Values(voters))
	}
	word := "FIRST "
	if quorum {
		word = "ANY "
	}
	names := make([]byte, 0, 128) // it is made in every decision of a primary
	names = append(names, word...)
	names = strconv.AppendInt(names, int64(r.Need), 10)
	names = append(names, " ("...)
	for i, name := range voters {
		if i > 0 {
			names = append(names, ',')
		}
		names = append(names, '"')
		names = append(names, strings.ReplaceAll(name, `"`, `""`)...)
		names = append(names, '"')
	}
	return string(append(names, ')'))
}

// Last is the newest rule; one that asks for nobody when there is none.
func (d *Durability) Last() Rule {
	if d == nil || len(d.Rules) == 0 {
		return Rule{}
	}
	return d.Rules[len(d.Rules)-1]
}

// Asking are the rules that ask for somebody: those an election must satisfy.
func (d *Durability) Asking() []Rule {
	if d == nil {
		return nil
	}
	if d.Unreadable { // "could not look" is not "there is none": a rule that nobody meets
		const who = "a record of rules that cannot be read"
		return []Rule{{Primary: who, Voters: []string{who}, Need: 1}}
	}
	var asking []Rule
	for _, r := range d.Rules {
		if r.Asks() {
			asking = append(asking, r)
		}
	}
	return asking
}

// Asks reports whether an election must satisfy any rule: whether Asking has one.
func (d *Durability) Asks() bool {
	return d != nil && (d.Unreadable || slices.ContainsFunc(d.Rules, Rule.Asks))
}

// Lax reports whether commits may have been acknowledged that waited for nobody.
func (d *Durability) Lax() bool {
	return d == nil || len(d.Rules) == 0 || slices.ContainsFunc(d.Rules, func(r Rule) bool { return !r.Asks() })
}

// Sync is the record as Patroni's key `sync` shows it, never less strict: whoever
// elects by that key alone satisfies every rule. In a quorum, quorum+1 of the names
// and the leader must be reachable; otherwise any one name will do.
func (d *Durability) Sync(leader string) Sync {
	s := Sync{Leader: leader}
	asking := d.Asking()
	if len(asking) == 0 {
		return s
	}
	var all []string
	least := asking[0].Need
	for _, r := range asking {
		least = min(least, r.Need)
		all = append(all, r.Copies()...)
	}
	slices.Sort(all)
	all = slices.CompactFunc(all, strings.EqualFold)
	names := slices.DeleteFunc(all, func(name string) bool {
		single := func(r Rule) bool { return r.Lists(name) && r.Reports() <= 1 } // alone it has everything
		return strings.EqualFold(name, leader) || d.Mode != SyncQuorum && !every(asking, single)
	})
	s.SyncStandby = strings.Join(names, ",")
	if d.Mode == SyncQuorum {
		s.Quorum = max(0, len(names)-least)
	}
	return s
}

func every(rules []Rule, holds func(Rule) bool) bool {
	return !slices.ContainsFunc(rules, func(r Rule) bool { return !holds(r) })
}

// The values of synchronous_mode.
const (
	SyncOff    = "off"
	SyncOn     = "on"
	SyncQuorum = "quorum"
)
