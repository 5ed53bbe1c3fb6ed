// Package pgrw sends writes to the primary of a PostgreSQL cluster and reads to
// its replicas, on pgx, and goes on through failovers and switchovers.
//
//	db, err := pgrw.Open(ctx, "pgkeeper://a:8008,b:8008/app?user=app")
//	token, err := db.InTx(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error { ... })
//	rows, err := db.Replica(pgrw.MaxLag(16<<20)).Query(pgrw.WithToken(ctx, token), "select ...")
//
// It promises:
//
//   - Routing is explicit. A statement goes to the primary unless it is asked of a
//     handle made by Cluster.Replica. SQL is never parsed. What is asked of a replica
//     handle runs read-only, also where the primary stands in for the replicas.
//   - A read with a token sees the write that gave the token, or fails: the server
//     that answers has proved its timeline and its position on this very connection
//     before the statement's snapshot was taken.
//   - Nothing is sent twice that may have been committed. What was lost after it was
//     sent is ErrCommitUnknown. Tried again is what provably did not take effect.
//   - While there is no primary, writes wait for one, for at most WithMaxWait.
//   - When another server is the primary, connections to the old one are closed, also
//     those in use.
//   - The loss of every agent, or of etcd behind them, takes no working primary away:
//     the last topology stands, and the servers themselves are asked.
//
// It does not promise that a write survives a failover (that is the cluster's
// synchronous mode), nor that a read without a token sees anything in particular; with
// MaxLag and MaxLagTime it is as fresh as they say. A token of a write that a
// failover has lost cannot be satisfied by any server: the primary answers such a
// read, and the observer is told. It does not work through a pooler that changes
// servers between transactions; it is the pooler.
package pgrw
