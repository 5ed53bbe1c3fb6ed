// Package peer lets the agents of one cluster call each other without anybody
// having configured it: by the secret that the store keeps for them.
//
// It promises that a call which a Verifier lets pass was made by somebody who
// knows the cluster's peer key, for this very member, with this method, path and
// body, under a term no older than the newest this member knows, and that it
// passes once. The answer is signed too, so that a forged "yes" is not taken for
// one. Neither depends on a clock: a verifier makes a session, a random text, when
// it starts, calls name it, and the nonces of a session are remembered until it is
// replaced. What was recorded before a restart is worth nothing after it.
//
// It does not hide what is said: that is TLS's part, whose certificates a Client
// verifies. It does not tell agents apart from others who may read the key in the
// store (an operator's command line), and leaves to its caller what a call means.
package peer
