package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// lostOnce is a primary that died with transactions nobody else had, and another
// whose histories nobody could compare.
func lostOnce() []cluster.Lost {
	return []cluster.Lost{
		{Member: "pg1", ID: "00000003-0000000003000148", Found: "2026-02-03T10:00:00Z", By: "rewind", Source: "pg2", SourceTimeline: 4, Timeline: 3,
			From: 0x3000148, To: 0x30A0000, Transactions: 17, FirstCommit: "2026-02-03T09:59:57.1Z", LastCommit: "2026-02-03T09:59:58.25Z",
			Tables: []cluster.LostTable{{Database: "shop", Name: "public.orders", Relation: "1663/5/16385", Inserted: 15, Updated: 2},
				{Relation: "1663/5/16399", Created: true, Inserted: 1}, {Relation: "1663/5/16402", Deleted: 3}},
			Files: []string{"000000030000000000000003"}, Bytes: 16 << 20},
		{Member: "pg1", ID: "00000002-unknown", Found: "2026-02-01T10:00:00Z", By: "clone", Source: "pg2", SourceTimeline: 2, Timeline: 2, Tables: []cluster.LostTable{},
			Files: []string{}, Note: "nothing was counted", Aside: "/var/lib/postgresql/15/main.old-1"},
	}
}

func TestLostTransactionsAreShown(t *testing.T) {
	r := newRig(t, healthy())
	err := r.Lost(t.Context(), func(_ context.Context, m Member) ([]cluster.Lost, error) {
		if m.Name == "pg1" {
			return lostOnce(), nil
		}
		return nil, nil
	}, []cluster.Lost{{Member: "gone", ID: "00000001-0000000001000000", Found: "2026-01-01T10:00:00Z", Timeline: 1, From: 0x1000000, To: 0x1000100, Transactions: 1}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "history_lost.txt", r.out.String())
}

func TestAClusterThatLostNothingSaysSo(t *testing.T) {
	r := newRig(t, healthy())
	err := r.Lost(t.Context(), func(context.Context, Member) ([]cluster.Lost, error) { return nil, nil }, nil)
	if err != nil || !strings.Contains(r.out.String(), "No rejoin has abandoned a committed transaction") {
		t.Errorf("%v, %s", err, r.out.String())
	}
}

func TestAMemberThatDoesNotSayWhatItLostIsNamed(t *testing.T) {
	r := newRig(t, healthy())
	err := r.Lost(t.Context(), func(_ context.Context, m Member) ([]cluster.Lost, error) {
		if m.Name == "pg1" {
			return lostOnce(), nil
		}
		return nil, errors.New("connection refused")
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "pg2 has not said what it lost: connection refused") || !strings.Contains(r.out.String(), "public.orders") {
		t.Errorf("%v\n%s", err, r.out.String())
	}
}

func TestLostTransactionsAreWholeForPrograms(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Format = FormatJSON
	if err := r.Console.Lost("", lostOnce()); err != nil {
		t.Fatal(err)
	}
	var got []cluster.Lost
	if err := json.Unmarshal(r.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lostOnce(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnAgentIsAskedWhatItLost(t *testing.T) {
	code, body := http.StatusOK, `[{"member":"pg1","from":"0/3000148","transactions":2}]`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/pgkeeper/lost" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	api, err := NewAPI(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.Lost(t.Context(), server.URL+"/patroni")
	if err != nil || len(got) != 1 || got[0].From != 0x3000148 || got[0].Transactions != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for answer, want := range map[int]string{http.StatusNotImplemented: "older pgkeeper", http.StatusBadGateway: "502"} {
		code, body = answer, "no"
		if _, err := api.Lost(t.Context(), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %s", answer, err, want)
		}
	}
}
