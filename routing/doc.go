// Package routing tells load balancers where writes go, at the moment that changes.
//
// It promises that a change of primary, as a source tells it (the store's watch, or an
// agent's GET /events), is at HAProxy's runtime socket at once: the old primary's sessions
// are cut, the new one is served. It pushes changes and nothing else: what it pushed is a
// server's health, which the next health check of HAProxy's own confirms or takes back.
// So nothing is pinned, and a Router that dies, hangs, or is cut off from all sources
// leaves HAProxy to its checks as if it had never been there. News that are older than
// others already acted upon, or that reached it too long ago, are not acted upon at all.
//
// It does not elect, probe, or fence anybody, and no safety rests on it: a server that is
// not the primary refuses writes by itself, and /primary is 200 only within a valid lease.
package routing
