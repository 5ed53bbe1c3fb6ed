// Package cluster holds the words of pgkeeper: positions in the write-ahead
// log, roles, members, the view of the store, settings, requests, status.
//
// It promises plain values: everything here is data with pure functions on it,
// and nothing imports a network, a file, a context or a log. Values are shared
// between goroutines, so they are never changed after they were handed over;
// maps and slices inside them are replaced, not written to.
//
// It does not promise any judgement (that is election), any storage (dcs) or
// any view of a server (postgres).
package cluster
