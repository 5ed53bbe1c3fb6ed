package restapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// heard is one event as a listener got it.
type heard struct{ name, id, data string }

// stage is a node whose events are told, over real connections.
type stage struct {
	*node
	t       *testing.T
	url     string
	changed chan struct{}
	end     func()
}

func newStage(t *testing.T, status *cluster.Status, change ...func(*Options)) *stage {
	t.Helper()
	st := &stage{t: t, changed: make(chan struct{}, 1)}
	change = append([]func(*Options){func(o *Options) { o.Changed, o.Wall = st.changed, time.Now }}, change...)
	st.node = newNode(t, status, change...)
	server := httptest.NewUnstartedServer(st.node)
	server.Config.ConnContext = withConnection
	server.Start()
	st.url = server.URL
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		st.Follow(ctx)
	}()
	st.end = func() {
		cancel()
		<-done
	}
	t.Cleanup(server.Close)
	t.Cleanup(st.end)
	return st
}

// become gives the node another status.
func (st *stage) become(status *cluster.Status) {
	st.status.Store(status)
	st.look()
}

// look has the node look at its status and its clock.
func (st *stage) look() {
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

// listener hears events until the test ends.
type listener struct {
	t      *testing.T
	events chan heard
}

func (st *stage) listen(lastID string) *listener {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(st.t.Context(), 2*time.Minute)
	st.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, st.url+"/events", nil)
	if err != nil {
		st.t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", lastID)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		st.t.Fatalf("GET /events: %s %v", answer.Status, answer.Header)
	}
	l := &listener{t: st.t, events: make(chan heard, 1000)}
	go l.read(answer.Body)
	return l
}

func (l *listener) read(body io.Reader) {
	defer close(l.events)
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	var e heard
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			l.events <- e
			e = heard{}
		}
	}
}

// next is the next event of one of the given names.
func (l *listener) next(names ...string) heard {
	l.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e, open := <-l.events:
			if !open {
				l.t.Fatalf("the stream ended before %v", names)
			}
			if slices.Contains(names, e.name) {
				return e
			}
		case <-limit:
			l.t.Fatalf("no event of %v came", names)
		}
	}
}

// topologyEvents are those that change what a listener knows.
var topologyEvents = []string{"snapshot", "leader_lost", "leader", "member", "member_lost"}

// takenOver is the cluster after pg-2 took over from pg-1, as pg-2 sees it.
func takenOver() *cluster.Status {
	return primary(func(s *cluster.Status) {
		s.Name, s.Term = "pg-2", 50
		s.Node.Value.Timeline = 4
		v := view()
		v.Revision, v.Leader = 80, &cluster.Leader{Name: "pg-2", Term: 50}
		m := v.Members["pg-2"]
		m.Role, m.Timeline, m.ModRevision = cluster.RolePrimary, 4, 80
		v.Members["pg-2"] = m
		old := v.Members["pg-1"]
		old.Role, old.ModRevision = cluster.RoleDemoted, 79
		v.Members["pg-1"] = old
		delete(v.Members, "pg-3")
		s.View = cluster.Seen(v, present)
	})
}

func TestAListenerHearsTheClusterAndEveryChange(t *testing.T) {
	st := newStage(t, standby())
	l := st.listen("")
	first := l.next(topologyEvents...)
	if first.name != "snapshot" || first.id == "" {
		t.Fatalf("first came %+v", first)
	}
	golden(t, "events-snapshot", []byte(first.data))
	st.become(takenOver())
	var got []string
	for range 5 {
		e := l.next(topologyEvents...)
		if e.id == "" {
			t.Errorf("%s has no id", e.name)
		}
		got = append(got, e.name+" "+e.data)
	}
	golden(t, "events-takeover", []byte(strings.Join(got, "\n")))
}

func TestAListenerResumesAfterTheLastEventItHeard(t *testing.T) {
	st := newStage(t, standby())
	l := st.listen("")
	first := l.next("snapshot")
	st.become(takenOver())
	lost := l.next("leader_lost")
	leader := l.next("leader")
	again := st.listen(lost.id)
	if e := again.next(topologyEvents...); e != leader {
		t.Errorf("resumed after leader_lost with %+v, want %+v", e, leader)
	}
	if e := st.listen(first.id).next(topologyEvents...); e != lost {
		t.Errorf("resumed after the snapshot with %+v, want %+v", e, lost)
	}
	for _, unknown := range []string{"77-another-3", leader.id + "0", "x", "77-" + st.hub.epoch + "-0", "77-" + st.hub.epoch + "--1"} {
		if e := st.listen(unknown).next(topologyEvents...); e.name != "snapshot" {
			t.Errorf("resumed after %q with %s, want a snapshot", unknown, e.name)
		}
	}
}

func TestAnExpiredLeaseIsTheLossOfTheLeaderWithoutAnyStep(t *testing.T) {
	st := newStage(t, primary())
	l := st.listen("")
	if e := l.next("snapshot"); !strings.Contains(e.data, `"leader":{"name":"pg-1","term":42,"timeline":3,"host":"10.0.0.1","port":5432}`) {
		t.Fatalf("snapshot %s", e.data)
	}
	st.advance(5 * time.Second)
	if e := l.next(topologyEvents...); e.name != "leader_lost" || e.data != `{"name":"pg-1","term":42}` {
		t.Errorf("after the end of the lease came %+v", e)
	}
}

func TestAPrimaryThatIsBeingStoppedIsLeftAtOnce(t *testing.T) {
	st := newStage(t, primary())
	l := st.listen("")
	l.next("snapshot")
	st.become(primary(func(s *cluster.Status) { s.State = cluster.StateStopping }))
	l.next("leader_lost")
	if w := st.ask(http.MethodGet, "/primary", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("/primary: %d", w.Code)
	}
}

func TestAHolderThatDoesNotServeYetIsNoLeader(t *testing.T) {
	v := view()
	m := v.Members["pg-1"]
	m.Role = cluster.RolePromoted
	v.Members["pg-1"] = m
	if got := v.Topology("batman"); got.Leader != nil {
		t.Errorf("the leader is %+v while it is being promoted", got.Leader)
	}
}

func TestHeartbeatsAndPositionsGoOnWithoutChanges(t *testing.T) {
	st := newStage(t, primary())
	l := st.listen("")
	l.next("snapshot")
	for range 3 {
		st.advance(time.Second)
		st.look()
		// In whatever order: who has just come is told by what notices that, or by the look.
		beat := l.next("heartbeat", "lsn")
		if beat.name == "lsn" {
			beat = l.next("heartbeat")
		} else {
			l.next("lsn")
		}
		var data heartbeatJSON
		if err := json.Unmarshal([]byte(beat.data), &data); err != nil || data.Leader != "pg-1" || data.Term != 42 || data.Revision != 77 || beat.id != "" {
			t.Errorf("heartbeat %+v: %v", beat, err)
		}
	}
}

func TestPositionsAreTheNewestThatAreKnown(t *testing.T) {
	st := newStage(t, standby(), func(o *Options) {
		o.Progress = func() *cluster.Progress {
			return &cluster.Progress{At: present, Mode: cluster.ModeStandby, Replay: 0x4000200, Latest: 0x4000300, Streaming: true, Behind: 20 * time.Millisecond, Known: true}
		}
	})
	l := st.listen("")
	var got positionsJSON
	want := fmt.Sprint(map[string]string{"pg-1": "0/4000100", "pg-2": "0/4000200"})
	for range 10 {
		if err := json.Unmarshal([]byte(l.next("lsn").data), &got); err != nil {
			t.Fatal(err)
		}
		at := map[string]string{}
		for name, m := range got.Members {
			at[name] = m.LSN
		}
		if fmt.Sprint(at) == want {
			break
		}
		st.advance(time.Second)
		st.look()
	}
	self := got.Members["pg-2"]
	if got.End != "0/4000300" || self.LSN != "0/4000200" || self.Lag == nil || *self.Lag != 256 || self.LagMS == nil || *self.LagMS < 20 {
		t.Errorf("positions %+v, of this node %+v", got, self)
	}
	if leader := got.Members["pg-1"]; leader.LSN != "0/4000100" || leader.Lag != nil {
		t.Errorf("of the leader %+v", leader)
	}
}

func TestPositionsOfAPrimarysStandbysComeFromIt(t *testing.T) {
	fed := newHub(0, "epoch").fed
	f := facts{Status: primary(func(s *cluster.Status) {
		s.Node.Value.Walsenders[0].Replay = 0x40000F0
	}), now: present}
	fed.see(f)
	all, end := fed.gather(f)
	if all["pg-2"].lsn != 0x4000000 || end != 0x4000100 {
		t.Errorf("pg-2 is at %s of %s: the member key is newer than the look and must win", all["pg-2"].lsn, end)
	}
	f.Node.At = present.Add(time.Millisecond)
	if all, _ = fed.gather(f); all["pg-2"].lsn != 0x40000F0 {
		t.Errorf("pg-2 is at %s: the look is newer than the member key and must win", all["pg-2"].lsn)
	}
}

func TestListenersAreBounded(t *testing.T) {
	st := newStage(t, primary(), func(o *Options) { o.Listeners = 2 })
	st.listen("")
	st.listen("")
	w := st.ask(http.MethodGet, "/events", "")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("the third listener got %d %v", w.Code, w.Header())
	}
}

func TestNobodyIsKeptAwakeForListenersThatAreNotThere(t *testing.T) {
	n := newNode(t, standby())
	h := n.hub
	if wait := h.update(n.facts()); wait != unheard || h.beat.text != nil {
		t.Errorf("looks again after %s, and has said %q to nobody", wait, h.beat.text)
	}
	h.join()
	select {
	case <-h.joined:
	default:
		t.Error("the first listener wakes nobody up")
	}
	if wait := h.update(n.facts()); wait != positionsEvery || h.beat.text == nil || h.positions.text == nil {
		t.Errorf("with a listener it looks again after %s, and says %q, %q", wait, h.beat.text, h.positions.text)
	}
	h.leave()
	h.join()
	if text, _, _ := h.next(&cursor{}); strings.Contains(string(text), "heartbeat") || !strings.Contains(string(text), "snapshot") {
		t.Errorf("the first listener after a while is told %q", text)
	}
	holder := newNode(t, primary())
	if wait, left := holder.hub.update(holder.facts()), holder.status.Load().LeaseUntil.Sub(present); wait != left {
		t.Errorf("a primary looks again after %s, want the end of its lease in %s", wait, left)
	}
}

func TestAListenerThatFellTooFarBehindIsSentAway(t *testing.T) {
	h := newHub(0, "epoch")
	topology := view().Topology("batman")
	h.publish(&topology, nil, nil, nil)
	var slow cursor
	if _, _, ok := h.next(&slow); !ok || slow.number != 1 {
		t.Fatalf("ok %v, cursor %+v", ok, slow)
	}
	for i := range eventsKept {
		h.publish(&topology, []change{{"member", i}}, nil, nil)
	}
	if text, _, ok := h.next(&slow); !ok || strings.Count(string(text), "event: member") != eventsKept {
		t.Errorf("a listener that is %d behind was not told all of them", eventsKept)
	}
	slow.number = 1
	h.publish(&topology, []change{{"member", "one more"}}, nil, nil)
	if _, _, ok := h.next(&slow); ok {
		t.Error("a listener that has missed a change goes on as if it had not")
	}
}

// TestAListenerThatDoesNotReadIsDroppedAndHoldsNobodyUp fills the connection of one that
// sleeps, while another hears everything.
func TestAListenerThatDoesNotReadIsDroppedAndHoldsNobodyUp(t *testing.T) {
	st := newStage(t, standby(func(s *cluster.Status) {
		m := s.View.Value.Members["pg-3"]
		m.Tags = cluster.Tags{"long": strings.Repeat("x", 32<<10)}
		s.View.Value.Members["pg-3"] = m
	}))
	l := st.listen("")
	l.next("snapshot")
	asleep, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(st.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer asleep.Close()
	_ = asleep.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := io.WriteString(asleep, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	listeners := func() int {
		st.hub.mu.Lock()
		defer st.hub.mu.Unlock()
		return st.hub.listeners
	}
	limit := time.Now().Add(time.Minute)
	for both := false; !both || listeners() > 1; {
		both = both || listeners() == 2
		if time.Now().After(limit) {
			t.Fatalf("%d listeners, want the one that reads", listeners())
		}
		status := *st.status.Load()
		status.View.Value.Revision++
		m := status.View.Value.Members["pg-3"]
		m.Timeline, m.ModRevision = cluster.Timeline(status.View.Value.Revision), status.View.Value.Revision
		status.View.Value.Members = map[string]cluster.Member{"pg-1": status.View.Value.Members["pg-1"], "pg-2": status.View.Value.Members["pg-2"], "pg-3": m}
		st.become(&status)
		l.next("member")
	}
}

func TestListenersAreSentAwayWhenTheAgentGoes(t *testing.T) {
	st := newStage(t, primary())
	l := st.listen("")
	l.next("snapshot")
	st.end()
	limit := time.After(patience)
	for open := true; open; {
		select {
		case _, open = <-l.events:
		case <-limit:
			t.Fatal("the stream goes on")
		}
	}
	if w := st.ask(http.MethodGet, "/events", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a later listener got %d", w.Code)
	}
}

func TestNothingIsToldOfAClusterThatWasNotSeen(t *testing.T) {
	st := newStage(t, nil)
	l := st.listen("")
	if e := l.next("heartbeat", "snapshot"); e.name != "heartbeat" {
		t.Errorf("before the store was seen came %+v", e)
	}
	st.become(primary())
	l.next("snapshot")
}

func TestHeadOfEventsHasNoEnd(t *testing.T) {
	w := newNode(t, primary()).ask(http.MethodHead, "/events", "")
	if diff := cmp.Diff([]any{200, "text/event-stream", 0}, []any{w.Code, w.Header().Get("Content-Type"), w.Body.Len()}); diff != "" {
		t.Error(diff)
	}
}
