package restapi

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestWhatAMemberLostIsAnsweredFromMemory(t *testing.T) {
	lost := []cluster.Lost{{Member: "pg-1", ID: "00000001-0000000003000148", Timeline: 1, From: 0x3000148, Transactions: 17, Tables: []cluster.LostTable{}, Files: []string{}}}
	n := newNode(t, primary(), func(o *Options) { o.Lost = func() []cluster.Lost { return lost } })
	w := n.ask(http.MethodGet, "/pgkeeper/lost", "")
	var got []struct {
		Member, From string
		Transactions int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != http.StatusOK || err != nil || len(got) != 1 || got[0].From != "0/3000148" || got[0].Transactions != 17 {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
	// Nothing lost, and a process that knows of none, are an empty list.
	lost = nil
	for _, n := range []*node{n, newNode(t, nil)} {
		if w := n.ask(http.MethodGet, "/pgkeeper/lost", ""); w.Code != http.StatusOK || w.Body.String() != "[]\n" && w.Body.String() != "[]" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	}
}
