package agent

import (
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// withFailsafe parses every configuration as one with failsafe mode.
func withFailsafe(raw json.RawMessage) (cluster.Settings, string) {
	s, why := parseTest(raw)
	s.FailsafeMode = true
	return s, why
}

func listOf(names ...string) map[string]string {
	list := map[string]string{}
	for _, name := range names {
		list[name] = "http://" + name + ":8008/patroni"
	}
	return list
}

func putsList(effects []Effect) bool {
	for _, do := range find[OnKeys](effects) {
		if putsFailsafe(do.Action) {
			return true
		}
	}
	return false
}

// TestAListIsOnDiskBeforeItIsSent: the next worker must ask whoever may be in the store's.
func TestAListIsOnDiskBeforeItIsSent(t *testing.T) {
	r := newRig(t)
	r.loop.parse = withFailsafe
	r.view.Failsafe = listOf("pg1", "pg2")
	r.view.Members["pg1"] = cluster.Member{Name: "pg1", APIURL: listOf("pg1")["pg1"], Keeper: &cluster.MemberKeeper{}}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", APIURL: listOf("pg2")["pg2"], Keeper: &cluster.MemberKeeper{}}
	r.primary()
	kept := r.loop.seen.Tenure
	if kept == nil || kept.Term != 61 || kept.TTL != 5*time.Second || len(kept.Lists) != 1 || !lists(kept, listOf("pg1", "pg2")) {
		t.Fatalf("kept %+v, want term 61 with the list of the store", kept)
	}
	r.loop.busy = [lanes]bool{LanePersist: true}
	r.view.Revision = 70
	for e := r.step(persisted{Memory: Memory{Tenure: kept}}); len(find[Persist](e)) > 0; {
		e = r.step(persisted{Memory: Memory(find[Persist](e)[0])})
	}
	for e := r.see(); len(find[Persist](e)) > 0; { // its revision and term
		e = r.step(persisted{Memory: Memory(find[Persist](e)[0])})
	}

	r.view.Members["pg3"] = cluster.Member{Name: "pg3", APIURL: listOf("pg3")["pg3"], Keeper: &cluster.MemberKeeper{}}
	effects := r.see()
	wrote := find[Persist](effects)
	if putsList(effects) || len(wrote) != 1 || !lists(wrote[0].Tenure, listOf("pg1", "pg2")) || !lists(wrote[0].Tenure, listOf("pg1", "pg2", "pg3")) {
		t.Fatalf("%+v: want both lists on disk, and nothing sent yet", effects)
	}
	if effects := r.look(cluster.ModePrimary); putsList(effects) {
		t.Fatal("sent while it is being written")
	}
	r.step(persisted{Memory: Memory(wrote[0])})
	r.pass(time.Millisecond)
	if effects := r.look(cluster.ModePrimary); !putsList(effects) {
		t.Fatalf("%+v: want it sent", effects)
	}
	r.step(KeysDone{Action: election.PutFailsafe{Members: listOf("pg1", "pg2", "pg3")}})
	r.view.Failsafe = listOf("pg1", "pg2", "pg3")
	r.see()
	if kept := r.loop.seen.Tenure; len(kept.Lists) != 1 || !lists(kept, r.view.Failsafe) {
		t.Errorf("kept %+v, want what the store shows alone", kept)
	}
}

// TestAStoreWithoutAListIsRemembered: whoever likes may take the lease there.
func TestAStoreWithoutAListIsRemembered(t *testing.T) {
	r := newRig(t)
	r.loop.parse = withFailsafe
	r.primary()
	content, err := json.Marshal(r.loop.seen)
	if err != nil {
		t.Fatal(err)
	}
	var read Memory
	if err := json.Unmarshal(content, &read); err != nil || read.Tenure == nil || !lists(read.Tenure, nil) {
		t.Errorf("%s is read as %+v (%v), want a list of nobody", content, read.Tenure, err)
	}
}

// resumes is a worker that has just started, without store, after one that led.
func resumes(t *testing.T, tenure *cluster.Tenure) *rig {
	r := newRig(t)
	r.loop = NewLoop(r.loop.id, nil, Memory{ClusterID: 7, Revision: 50, Term: 60, Tenure: tenure}, nil, withFailsafe, slog.New(slog.DiscardHandler), r.now)
	r.step(GuardUp{guard.Status{Term: 60, Armed: true, Deadline: time.Duration(r.now.Add(3 * time.Second)), Server: &guard.Server{Instance: "i1", Writable: true, PID: 9}}})
	r.look(cluster.ModePrimary)
	r.pass(1100 * time.Millisecond)
	r.look(cluster.ModePrimary)
	return r
}

func TestANewWorkerGoesOnWithTheTermThatWasKept(t *testing.T) {
	kept := &cluster.Tenure{Term: 60, TTL: 5 * time.Second, Lists: []map[string]string{listOf("pg1", "pg2"), listOf("pg1", "pg2", "pg3")}}
	r := resumes(t, kept)
	o := &r.loop.obs
	if o.Lease.Term != 60 || !o.Lease.Resumed || !o.Failsafe.RecordUnclear || len(o.Failsafe.Lists) != 2 || !maps.Equal(o.Failsafe.Lists[1], kept.Lists[1]) {
		t.Fatalf("lease %+v, failsafe %+v", o.Lease, o.Failsafe)
	}
	if until := o.Lease.Renewed.Add(o.Settings.TTL - o.Settings.Margin(0)); until != o.Guard.Deadline {
		t.Errorf("it counts on %v, the guard on %v", until, o.Guard.Deadline)
	}
	r.pass(50 * time.Millisecond)
	asks := find[OnFailsafe](r.look(cluster.ModePrimary))
	if len(asks) != 1 || asks[0].Term != 60 || len(asks[0].Ask.Peers) != 2 || asks[0].Ask.Rules != nil {
		t.Fatalf("%+v, want pg2 and pg3 asked under term 60, whatever the record says", asks)
	}
	r.step(FailsafeDone{Term: 60, At: r.now, Until: r.now.Add(4500 * time.Millisecond), Accepted: []string{"pg2", "pg3"}})
	if !election.FailsafeActive(o) {
		t.Fatal("the promises do not count")
	}
	r.pass(time.Second)
	if effects := r.look(cluster.ModePrimary); renews(effects) || len(leaseActions(effects)) > 0 {
		t.Errorf("it calls the store: %+v", effects)
	}
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.Inherit{Term: 60}, At: r.now, Term: 70, Outcome: Succeeded})
	if o.Lease.Term != 70 || o.Lease.Resumed || o.Failsafe.RecordUnclear || len(o.Failsafe.Lists) > 0 {
		t.Errorf("afterwards %+v, %+v", o.Lease, o.Failsafe)
	}
}

// TestATermThatHasEndedIsNotTakenUp: the guard was told so, or this node saw another lead.
func TestATermThatHasEndedIsNotTakenUp(t *testing.T) {
	kept := &cluster.Tenure{Term: 60, TTL: 5 * time.Second, Lists: []map[string]string{listOf("pg1")}}
	if tenureOf(&Memory{Term: 60, Tenure: kept}) == nil || tenureOf(&Memory{Term: 61, Tenure: kept}) != nil || tenureOf(&Memory{Term: 61}) != nil {
		t.Error("it is told by the newest term that this node has seen")
	}
	for ended, want := range map[int64]cluster.Term{0: 60, 59: 60, 60: 0} {
		r := newRig(t)
		r.step(GuardUp{guard.Status{Term: 60, EndedTerm: ended, Deadline: time.Duration(r.now) + time.Second, Server: &guard.Server{Instance: "i1", Writable: true}}})
		if got := r.loop.obs.Guard.Term; got != want {
			t.Errorf("ended %d: the guard keeps its server for term %d, want %d", ended, got, want)
		}
	}
}

func TestATenureThatFailsafeModeOrAPauseForbidsIsNotTakenUp(t *testing.T) {
	kept := &cluster.Tenure{Term: 60, TTL: 5 * time.Second, Lists: []map[string]string{listOf("pg1")}, Config: json.RawMessage(`{"pause":true}`)}
	if o := &resumes(t, kept).loop.obs; o.Lease.Term != 0 || o.Self.Tenure != nil {
		t.Errorf("lease %+v, tenure %+v", o.Lease, o.Self.Tenure)
	}
}

// TestThePeerKeyIsKept for a worker that starts without store, readable by nobody else.
func TestThePeerKeyIsKept(t *testing.T) {
	dir := t.TempDir()
	p := newPeers("pg1", nil, nil, nil, slog.New(slog.DiscardHandler))
	p.keepIn(dir, 0)
	if p.self.Secret() != nil {
		t.Fatal("a key out of nowhere")
	}
	p.took(dcs.KeptPeerKey([]byte("secret")))
	info, err := os.Stat(filepath.Join(dir, peerKeyName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	next := newPeers("pg1", nil, nil, nil, slog.New(slog.DiscardHandler))
	next.keepIn(dir, 60)
	if string(next.self.Secret()) != "secret" || next.self.Term() != 60 || next.key.Load().Revision() != 0 {
		t.Errorf("kept %q of revision %d", next.self.Secret(), next.key.Load().Revision())
	}
}
