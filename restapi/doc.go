// Package restapi is the HTTP interface of a node: health checks for load
// balancers, the state for people and peers, and the operator's wishes, on
// Patroni's paths with Patroni's codes and JSON.
//
// It promises that every GET, HEAD and OPTIONS is answered from memory: from the
// cluster.Status the loop stored last, without waiting for a store, a server or
// a lock. /primary compares the lease's deadline with the clock at the moment of
// answering, so that an expired lease or a hung loop turns it to 503 by itself
// (S3). Health checks run no middleware and render their JSON once per Status.
// A write becomes one call of the Operator and waits for it within a bound; past
// it the answer is 503 with the id of the request, which goes on.
//
// It does not decide anything, touch PostgreSQL, or write to the store: that is
// behind Operator. It does not check a configuration or a switchover for good;
// it refuses early what its last look at the store already shows impossible, and
// whoever carries the wish out checks again.
//
// Where Patroni is unsafe this package is strict. Every such place is listed in
// docs/divergence-from-patroni.md; the paths are in docs/rest-api.md and, as a
// test holds, in docs/openapi.yaml.
package restapi
