// Package etcd is dcs.KV on etcd v3, and the only importer of its client.
//
// It promises linearizable reads; that a write whose answer was lost is reported
// as dcs.ErrUnknownOutcome and sent only once, unless the caller marked it
// repeatable; that slow or broken members of etcd are left quickly: reads,
// keepalives and repeatable writes are sent to the next member after ResendAfter;
// and that an idle client sends nothing but connection pings, every 10 s.
//
// It does not discover members (the given endpoints are all), and an endpoint
// that hangs without closing its connection keeps a watch silent for up to 12 s:
// who concludes anything from silence reads first.
package etcd
