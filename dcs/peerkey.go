package dcs

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
)

// PeerKey is the secret by which the agents of one cluster know each other's
// calls. It is read by itself and is in no view, so that it cannot get into a
// status, a log or a recording with one; a view has its revision only.
type PeerKey struct {
	secret   []byte
	revision int64
}

// peerKeyBytes is the length of a peer key.
const peerKeyBytes = 32

// Secret is the key itself; nil while there is none.
func (k PeerKey) Secret() []byte { return k.secret }

// Revision is the mod_revision under which it was stored; 0 while there is none.
func (k PeerKey) Revision() int64 { return k.revision }

// String keeps the secret out of a message that formats the key.
func (k PeerKey) String() string { return fmt.Sprintf("peer key of revision %d", k.revision) }

// GoString is the same for %#v.
func (k PeerKey) GoString() string { return k.String() }

// KeptPeerKey is a key that was kept outside the store, of no revision.
func KeptPeerKey(secret []byte) PeerKey { return PeerKey{secret: secret} }

// peerKeyWire is pgkeeper/peer_key as stored.
type peerKeyWire struct {
	Key string `json:"key"`
}

// newPeerKey draws a key, as it is stored.
func newPeerKey() ([]byte, error) {
	secret := make([]byte, peerKeyBytes)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("draw a peer key: %w", err)
	}
	return compact(peerKeyWire{base64.StdEncoding.EncodeToString(secret)})
}

// PeerKey reads the cluster's peer key. A key that is absent is the zero PeerKey.
// The error about one that cannot be read does not repeat it.
func (s *Store) PeerKey(ctx context.Context) (PeerKey, error) {
	p, err := s.read(ctx, keyPeerKey)
	if err != nil {
		return PeerKey{}, fmt.Errorf("read the peer key: %w", err)
	}
	if p == nil {
		return PeerKey{}, nil
	}
	return decodePeerKey(*p)
}

func decodePeerKey(p Pair) (PeerKey, error) {
	var w peerKeyWire
	if decodeInto(p.Value, &w, false) == nil {
		if secret, err := base64.StdEncoding.DecodeString(w.Key); err == nil && len(secret) >= peerKeyBytes {
			return PeerKey{secret: secret, revision: p.ModRevision}, nil
		}
	}
	return PeerKey{revision: p.ModRevision}, errors.New("the key pgkeeper/peer_key cannot be read: delete it, and the holder writes a new one")
}

// PutPeerKey gives a cluster that has none (one that Patroni or an older agent
// bootstrapped) its peer key, under the term. ErrCompared when there is one.
func (l *Lease) PutPeerKey(ctx context.Context) error {
	value, err := newPeerKey()
	if err != nil {
		return err
	}
	key := l.key(keyPeerKey)
	_, err = l.underTerm(ctx, l.Term(), "put the peer key", []Compare{modIs(key, 0)}, Put(key, value, 0))
	return err
}
