// Package etcd is dcs.KV on etcd v3, and the only importer of its client.
//
// It promises linearizable reads; that a write whose answer was lost is reported
// as dcs.ErrUnknownOutcome and sent only once, unless the caller marked it
// repeatable; that slow or broken members of etcd are left quickly: reads,
// keepalives and repeatable writes are sent to the next member after ResendAfter;
// that the keepalive of a member which has missed an election, such as a leader whose
// disk hangs and which goes on answering from memory, is not believed and others are
// asked, and that every member hears of a lease twice in its length; that a watch
// whose member keeps a change to itself goes on at another one, 2 to 4 s after the
// change in a cluster that beats every second; and that an idle client sends nothing
// but connection pings, every 10 s, and one read every 12 s for a silent watch.
//
// Health says what is wrong with etcd itself. What it takes from requests that are made
// anyway costs nothing; beside that it asks one member for its status, which the member
// answers from memory.
//
// It does not discover members (the given endpoints are all), and it does not know
// beforehand which member hangs: one request in so many as there are members still
// goes there first.
package etcd
