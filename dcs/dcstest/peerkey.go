package dcstest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

var peerKeyCases = []testCase{
	{"the transaction that ends a bootstrap writes the peer key, and no view shows it", func(w *world) {
		a := w.session("a")
		l, err := a.FinishBootstrap(w.ctx, w.claim(a), "42", nil, cluster.Holder{Name: "a"}, ttl)
		w.must(err)
		key, err := w.store.PeerKey(w.ctx)
		w.must(err)
		v := w.view()
		if len(key.Secret()) != 32 || key.Revision() != int64(l.Term()) || v.PeerKeyRev != key.Revision() {
			w.Errorf("key of %d bytes at %d, view says %d, term %d", len(key.Secret()), key.Revision(), v.PeerKeyRev, l.Term())
		}
		text := base64.StdEncoding.EncodeToString(key.Secret())
		if said := fmt.Sprintf("%+v %#v %v %#v", v, v, key, key); strings.Contains(said, text) || bytes.Contains([]byte(said), fmt.Append(nil, key.Secret())) {
			w.Error("the peer key is shown")
		}
		w.want(dcs.ErrCompared, l.PutPeerKey(w.ctx))
		again, err := w.store.PeerKey(w.ctx)
		w.must(err)
		if !bytes.Equal(again.Secret(), key.Secret()) {
			w.Error("the key was replaced")
		}
	}},
	{"a cluster without a peer key gets one from its holder, under the term", func(w *world) {
		if key, err := w.store.PeerKey(w.ctx); err != nil || key.Secret() != nil {
			w.Errorf("a key out of nothing: %v, %v", key, err)
		}
		a := w.session("a")
		old := w.acquire(a)
		l, err := a.Inherit(w.ctx, old.Term(), cluster.Holder{Name: "a"}, ttl)
		w.must(err)
		w.want(dcs.ErrCompared, old.PutPeerKey(w.ctx))
		w.must(l.PutPeerKey(w.ctx))
		key, err := w.store.PeerKey(w.ctx)
		w.must(err)
		if len(key.Secret()) != 32 || w.view().PeerKeyRev != key.Revision() {
			w.Errorf("key of %d bytes", len(key.Secret()))
		}
	}},
}
