package dcs

import "strings"

// The keys under a cluster's base. The first group is Patroni's, the second
// pgkeeper's own. Nothing else under the base is read or written, so that a
// Citus group below the same scope stays another cluster's business.
const (
	keyInitialize = "initialize"
	keyLeader     = "leader"
	keyMembers    = "members/"
	keyConfig     = "config"
	keyFailover   = "failover"
	keySync       = "sync"
	keyHistory    = "history"
	keyStatus     = "status"
	keyOptime     = "optime/leader"
	keyFailsafe   = "failsafe"

	keyBeat          = "pgkeeper/beat"
	keyHolder        = "pgkeeper/holder"
	keyHandover      = "pgkeeper/handover"
	keyRelease       = "pgkeeper/release"
	keyTimelines     = "pgkeeper/timelines"
	keySwitchover    = "pgkeeper/switchover"
	keyPausedPrimary = "pgkeeper/paused_primary"
	keyPeerKey       = "pgkeeper/peer_key"
	keyDurability    = "pgkeeper/durability"
	keyRequests      = "pgkeeper/requests/"
	keyResults       = "pgkeeper/results/"
)

// basePath is "/"+namespace+"/"+scope with runs of slashes squeezed, as Patroni
// builds it: namespace "/service/" and "service" are one.
func basePath(namespace, scope string) string {
	var parts []string
	for part := range strings.SplitSeq(namespace+"/"+scope, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return "/" + strings.Join(parts, "/")
}

// validName refuses names that would reach out of their place in the layout.
func validName(name string) bool { return name != "" && !strings.Contains(name, "/") }

// splitRequest takes "<member>/<id>" apart.
func splitRequest(rest string) (member, id string, ok bool) {
	member, id, ok = strings.Cut(rest, "/")
	return member, id, ok && validName(member) && validName(id)
}
