package routing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The clock of these tests stands at present.
const present = cluster.Instant(1000 * time.Second)

const snapshot = `event: snapshot
id: 77-ABCDEFGH-1
data: {"scope":"batman","revision":77,"leader":{"name":"pg-1","term":42,"timeline":3,"host":"10.0.0.1","port":5432},"members":[{"name":"pg-1","role":"primary"},{"name":"pg-2","role":"replica"}]}

`

// told is what a stream of events tells, one line a piece of news.
func told(t *testing.T, text string) (lines []string, err error) {
	t.Helper()
	s := stream{now: func() cluster.Instant { return present }, tell: func(n News) {
		line := fmt.Sprintf("%d", n.Revision)
		if n.Topology != nil {
			line += " leader " + (&belief{topology: n.Topology}).leader() + " of"
			for _, m := range n.Topology.Members {
				line += " " + m.Name
			}
		}
		lines = append(lines, line)
	}}
	err = readEvents(strings.NewReader(text), s.take)
	return lines, err
}

func TestEventsBecomeNews(t *testing.T) {
	got, err := told(t, `: a comment

event: heartbeat
data: {"revision":76,"view_age_ms":0}

`+snapshot+`event: lsn
data: {"end":"0/1","members":{}}

event: heartbeat
data: {"revision":78,"leader":"pg-1","view_age_ms":10}

event: leader_lost
id: 79-ABCDEFGH-2
data: {"name":"pg-1","term":42}

event: leader
id: 80-ABCDEFGH-3
data: {"name":"pg-2","term":80}

event: member
id: 80-ABCDEFGH-4
data: {"name":"pg-3"}

event: member_lost
id: 81-ABCDEFGH-5
data: {"name":"pg-1"}

event: something new
data: {}

event: heartbeat
data: {"revision":83}

`)
	want := []string{
		"78 leader pg-1 of pg-1 pg-2", // only once a heartbeat has shown that the agent sees the store
		"79 leader  of pg-1 pg-2",
		"80 leader pg-2 of pg-1 pg-2",
		"80 leader pg-2 of pg-1 pg-2 pg-3",
		"81 leader pg-2 of pg-2 pg-3",
		"81 leader pg-2 of pg-2 pg-3",
		"83",
	}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAnAgentThatIsCutOffIsNotBelieved(t *testing.T) {
	got, err := told(t, snapshot+"event: heartbeat\ndata: {\"revision\":77,\"view_age_ms\":9000,\"store_error\":\"no etcd\"}\n\n")
	if len(got) != 0 || !errors.Is(err, errCutOff) {
		t.Errorf("it told %v and ended with %v", got, err)
	}
}

func TestEventsThatAreNoneEndTheStream(t *testing.T) {
	for _, text := range []string{"event: snapshot\ndata: {\n\n", "event: heartbeat\ndata: x\n\n", snapshot + "event: leader\ndata: []\n\n"} {
		if _, err := told(t, text); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAListenerLeavesASilentAgentAndOneThatRefuses(t *testing.T) {
	var silent atomic.Bool
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !silent.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, snapshot)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer agent.Close()
	listen := func() error {
		return Listen(t.Context(), agent.Client(), agent.URL, func() cluster.Instant { return present }, func(News) {})
	}
	if err := listen(); !errors.Is(err, ErrEvents) || !strings.Contains(err.Error(), "503") {
		t.Errorf("of one that refuses: %v", err)
	}
	silent.Store(true)
	if err := listen(); !errors.Is(err, ErrEvents) || !strings.Contains(err.Error(), "said nothing for 3s") {
		t.Errorf("of a silent one: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Listen(ctx, agent.Client(), agent.URL, func() cluster.Instant { return present }, func(News) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(snapshot))
	f.Add([]byte("event: member\nid: x\ndata: {}\ndata: 1\n\nevent:\n\n:\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := stream{now: func() cluster.Instant { return present }, tell: func(n News) {
			if n.Topology != nil && n.Topology.Revision != n.Revision {
				t.Errorf("news of revision %d with a topology of %d", n.Revision, n.Topology.Revision)
			}
		}}
		if err := readEvents(bytes.NewReader(text), s.take); err == nil {
			t.Error("a stream ended without a reason")
		}
	})
}
