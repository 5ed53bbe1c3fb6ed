package restapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

func peerSelf(name string, key byte) peer.Self {
	secret := bytes.Repeat([]byte{key}, 32)
	return peer.Self{Name: name, Secret: func() []byte { return secret }, Term: func() cluster.Term { return 1 }}
}

func TestAgentsReachEachOtherWhateverTheAccessRulesSay(t *testing.T) {
	reached := []cluster.Reach{{Member: "pg9", OK: true}}
	n := newNode(t, primary(), onSockets, func(o *Options) {
		o.Access = Access{Username: "u", Password: "p", Allowlist: []string{"192.0.2.1"}}
		o.Peers = peer.NewVerifier(peerSelf(primary().Name, 1))
		o.Reach = func(context.Context) []cluster.Reach { return reached }
	})
	server := httptest.NewServer(n)
	defer server.Close()
	client := peer.NewClient(peerSelf("other", 1), http.DefaultTransport)
	a, err := client.Post(t.Context(), primary().Name, server.URL, "/pgkeeper/ping", nil)
	var pong cluster.Pong
	if err != nil || json.Unmarshal(a.Body, &pong) != nil || pong.Name != primary().Name || pong.Term == 0 {
		t.Fatalf("ping: %d %s, %v", a.Code, a.Body, err)
	}
	a, err = client.Post(t.Context(), primary().Name, server.URL, "/pgkeeper/reach", nil)
	var found []cluster.Reach
	if err != nil || json.Unmarshal(a.Body, &found) != nil || len(found) != 1 || !found[0].OK {
		t.Fatalf("reach: %d %s, %v", a.Code, a.Body, err)
	}
	for _, path := range []string{"/pgkeeper/ping", "/pgkeeper/reach"} {
		if _, err := peer.NewClient(peerSelf("other", 2), http.DefaultTransport).Post(t.Context(), primary().Name, server.URL, path, nil); err == nil {
			t.Errorf("%s: a call with another key was taken", path)
		}
		response, err := http.Post(server.URL+path, "application/json", http.NoBody) //nolint:noctx // a client of a test
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s unsigned: %s", path, response.Status)
		}
	}
}

func TestEachCallBetweenAgentsAsksForTheSignature(t *testing.T) {
	n := newNode(t, primary(), func(o *Options) { o.Peers = peer.NewVerifier(peerSelf("pg1", 1)) })
	for _, c := range n.peerCalls() {
		w := httptest.NewRecorder()
		n.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.path, http.NoBody))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s without a signature: %d", c.path, w.Code)
		}
	}
}
