package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// rewinding is a server whose rewind is watched: what is done, in order.
type rewinding struct {
	Server
	infos []postgres.SourceInfo
	// ready is what the source answers each time, the last answer for ever.
	ready  []error
	rewind error
	clone  map[string]error
	room   postgres.Room
	done   []string
	// now is what a look at the running server shows.
	now cluster.NodeState
}

func (s *rewinding) Look(context.Context, bool, int) (cluster.NodeState, error) {
	if s.now.Mode != cluster.ModeStandby {
		return cluster.NodeState{}, errors.New("it does not answer")
	}
	return s.now, nil
}

func (s *rewinding) SourceInfo(_ context.Context, of postgres.Source) (postgres.SourceInfo, error) {
	if of.Host == "standby" {
		return postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 900, InRecovery: true}, nil
	}
	info := s.infos[0]
	if len(s.infos) > 1 {
		s.infos = s.infos[1:]
	}
	return info, nil
}

func (s *rewinding) SourceReady(context.Context, postgres.Source) error {
	if len(s.ready) == 0 {
		return nil
	}
	err := s.ready[0]
	if len(s.ready) > 1 {
		s.ready = s.ready[1:]
	}
	return err
}

func (s *rewinding) note(what string) { s.done = append(s.done, what) }

func (s *rewinding) KeepWAL(context.Context) error { s.note("keep wal"); return nil }

func (s *rewinding) KeepLost(_ context.Context, l postgres.Losing) (cluster.Lost, bool, error) {
	s.note("keep lost before a " + l.By)
	return cluster.Lost{ID: "1-5", Transactions: 3, Tables: []cluster.LostTable{{Database: "app", Name: "public.t"}}}, true, nil
}

func (s *rewinding) Rewind(context.Context, postgres.Source, postgres.Rewinding) (bool, error) {
	s.note("rewind")
	return true, s.rewind
}

func (s *rewinding) MakeRoom(_ context.Context, m postgres.Making) (postgres.Room, error) {
	s.note("make room, lost " + m.Lost)
	return s.room, nil
}

func (s *rewinding) Clone(_ context.Context, from postgres.Source, progress func(done, total int64)) error {
	progress(0, 100<<20)
	keeper := ""
	if from.Keeper != nil {
		keeper = " for " + from.Keeper.Host
	}
	s.note("clone from " + from.Host + keeper)
	return s.clone[from.Host]
}

var errStart = errors.New("started")

func (s *rewinding) SetStandbySignal(bool) error { return errStart }

// turning is a clock that only waiting moves.
type turning struct {
	realClock
	now cluster.Instant
}

func (c *turning) Now() cluster.Instant { return c.now }

func (c *turning) Sleep(_ <-chan struct{}, d time.Duration) bool { c.now = c.now.Add(d); return true }

// rewindNode is a Node on it, and what it tells the loop.
func rewindNode(s *rewinding) (*Node, *[]string) {
	said := &[]string{}
	c := &config.Config{Name: "pg1"}
	n := NewNode(Parts{Server: s, Link: guardAlone{}, Clock: &turning{}, Config: c, Log: slog.New(slog.DiscardHandler),
		Post: func(e Event) {
			if p, ok := e.(JobProgress); ok {
				*said = append(*said, p.Text)
			}
		}})
	return n, said
}

// diverged is an old primary that crashed on timeline 1, and the primary on 2.
var (
	divergedNode = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: "sys", Timeline: 1, Control: cluster.ControlData{State: cluster.ControlInProduction}}
	newPrimary   = postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 900, History: cluster.History{{Timeline: 1, Switch: 500}}}
	rejoinUp     = election.Upstream{Member: "pg2", Host: "primary", Port: "5432"}
)

func rejoinSettings() cluster.Settings { return cluster.DefaultSettings() }

func TestARewindWaitsForTheCheckpointOfItsSource(t *testing.T) {
	notYet := fmt.Errorf("%w: it writes timeline 00000002, but its last checkpoint is of 00000001", postgres.ErrSourceNotReady)
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary}, ready: []error{notYet, notYet, notYet, nil}}
	n, said := rewindNode(s)
	err := n.rejoin(t.Context(), OnJob{Node: divergedNode, Settings: rejoinSettings()}, rejoinUp)
	if !errors.Is(err, errStart) || strings.Join(s.done, ", ") != "keep lost before a rewind, rewind" {
		t.Errorf("%v, %v", s.done, err)
	}
	if len(*said) == 0 || (*said)[0] != "waiting for pg2 to checkpoint on its timeline before the rewind" || strings.Contains(fmt.Sprint((*said)[1:]), "waiting") {
		t.Errorf("said %q", *said)
	}
}

func TestAServerIsNotStoppedForASourceThatNeverCheckpoints(t *testing.T) {
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary}, ready: []error{fmt.Errorf("%w: no", postgres.ErrSourceNotReady)}}
	n, _ := rewindNode(s)
	node := divergedNode
	node.Mode, node.ReplayLSN, node.ReceiveLSN = cluster.ModeStandby, 700, 700
	err := n.rejoin(t.Context(), OnJob{Node: node, Settings: rejoinSettings()}, rejoinUp)
	if !errors.Is(err, postgres.ErrSourceNotReady) || len(s.done) != 0 || !strings.Contains(err.Error(), "waits for a checkpoint of pg2") {
		t.Errorf("%v, %v", s.done, err)
	}
}

func TestASourceThatWasDeposedWhileARewindWaitedIsComparedAnew(t *testing.T) {
	deposed := newPrimary
	deposed.InRecovery = true
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary, deposed}, ready: []error{postgres.ErrSourceNotReady, nil}}
	n, _ := rewindNode(s)
	err := n.rejoin(t.Context(), OnJob{Node: divergedNode, Settings: rejoinSettings()}, rejoinUp)
	if err == nil || len(s.done) != 0 || !strings.Contains(err.Error(), "compared anew") {
		t.Errorf("%v, %v", s.done, err)
	}
}

func TestARunningServerKeepsItsWALBeforeItIsStoppedForARewind(t *testing.T) {
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary}}
	n, _ := rewindNode(s)
	node := divergedNode
	node.Mode, node.ReplayLSN, node.ReceiveLSN = cluster.ModeStandby, 700, 700
	err := n.rejoin(t.Context(), OnJob{Node: node, Settings: rejoinSettings()}, rejoinUp)
	if !errors.Is(err, errStart) || strings.Join(s.done, ", ") != "keep wal, keep lost before a rewind, rewind" {
		t.Errorf("%v, %v", s.done, err)
	}
}

// TestAStandbyWithATornRecordIsNotRewound: walsenders send in pages, so a dead primary's
// standby may have a part of a record past the position that the next one went on from.
func TestAStandbyWithATornRecordIsNotRewound(t *testing.T) {
	for _, rewinds := range []bool{true, false} {
		node := divergedNode
		node.Mode, node.ReplayLSN, node.ReceiveLSN, node.ReplaysOwn = cluster.ModeStandby, 400, 520, true
		s := &rewinding{infos: []postgres.SourceInfo{newPrimary}, now: node}
		s.now.EndKnown, s.now.ReplaysOwn, s.now.ReplayLSN = true, false, 500
		n, _ := rewindNode(s)
		settings := rejoinSettings()
		settings.PostgreSQL.UsePgRewind = rewinds
		if err := n.rejoin(t.Context(), OnJob{Node: node, Settings: settings}, rejoinUp); err != nil || len(s.done) != 0 {
			t.Errorf("torn: %v, %v", s.done, err)
		}
		s.now.ReplayLSN = 510 // a whole record past the switch
		if err := n.rejoin(t.Context(), OnJob{Node: node, Settings: settings}, rejoinUp); err == nil || len(s.done) == 0 {
			t.Errorf("past the switch: %v, %v", s.done, err)
		}
	}
}

func TestARewindThatFailsAgainAndAgainEndsInAClone(t *testing.T) {
	failed := errors.New("pg_rewind: exit status 1: something nobody knows")
	for name, c := range map[string]struct {
		err    error
		clones int // in how many of four tries
	}{
		"for no reason that we know":   {failed, 1},
		"because it is not possible":   {fmt.Errorf("%w: no checksums", postgres.ErrNeedClone), 4},
		"because the source is away":   {fmt.Errorf("%w: no route", postgres.ErrUnreachable), 0},
		"because the password is old":  {postgres.ErrAuthentication, 0},
		"because it broke off (later)": {postgres.ErrDamaged, 0},
	} {
		s := &rewinding{infos: []postgres.SourceInfo{newPrimary}, rewind: c.err}
		n, _ := rewindNode(s)
		for range 4 {
			_ = n.rejoin(t.Context(), OnJob{Node: divergedNode, Settings: rejoinSettings()}, rejoinUp)
		}
		if got := strings.Count(strings.Join(s.done, ", "), "clone from primary"); got != c.clones {
			t.Errorf("%s: %d clones, want %d: %v", name, got, c.clones, s.done)
		}
	}
}

func TestADivergedDirectoryIsCountedBeforeACloneReplacesIt(t *testing.T) {
	settings := rejoinSettings()
	settings.PostgreSQL.UsePgRewind = false
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary}}
	n, said := rewindNode(s)
	err := n.rejoin(t.Context(), OnJob{Node: divergedNode, Settings: settings}, rejoinUp)
	if !errors.Is(err, errStart) || strings.Join(s.done, ", ") != "keep lost before a clone, make room, lost 1-5, clone from primary" {
		t.Errorf("%v, %v", s.done, err)
	}
	if last := (*said)[len(*said)-1]; last != "cloning from pg2, 0 of 100 MB (0%)" {
		t.Errorf("said %q", *said)
	}
}

// TestACloneSaysWhatItRemovedFirst: in pgkeeper list, for as long as it runs.
func TestACloneSaysWhatItRemovedFirst(t *testing.T) {
	settings := rejoinSettings()
	settings.PostgreSQL.UsePgRewind = false
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary}, room: postgres.Room{Removed: "the old directory, as /data is a mount point"}}
	n, said := rewindNode(s)
	if err := n.rejoin(t.Context(), OnJob{Node: divergedNode, Settings: settings}, rejoinUp); !errors.Is(err, errStart) {
		t.Error(err)
	}
	if last := (*said)[len(*said)-1]; last != "cloning from pg2 (removed: the old directory, as /data is a mount point), 0 of 100 MB (0%)" {
		t.Errorf("said %q", *said)
	}
}

// TestRoomIsMadeForACloneIntoAnEmptyDirectory: a clone that filled the disk has left it
// empty. The source is asked for its proof before that, and for whether it still leads after.
func TestRoomIsMadeForACloneIntoAnEmptyDirectory(t *testing.T) {
	deposed := newPrimary
	deposed.InRecovery = true
	empty := cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
	for name, c := range map[string]struct {
		infos []postgres.SourceInfo
		done  string
	}{
		"no primary":           {[]postgres.SourceInfo{deposed}, ""},
		"no primary any more":  {[]postgres.SourceInfo{newPrimary, deposed}, "make room, lost "},
		"a primary throughout": {[]postgres.SourceInfo{newPrimary}, "make room, lost , clone from primary"},
	} {
		s := &rewinding{infos: c.infos}
		n, _ := rewindNode(s)
		err := n.clone(t.Context(), OnJob{Node: empty, Settings: rejoinSettings()}, rejoinUp)
		if got := strings.Join(s.done, ", "); err == nil || got != c.done {
			t.Errorf("%s: %s, want %s (%v)", name, got, c.done, err)
		}
	}
}

func TestACloneIsCopiedFromAStandbyThatIsLentForIt(t *testing.T) {
	lent := &election.Upstream{Member: "pg3", Host: "standby", Port: "5432"}
	empty := cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
	for name, c := range map[string]struct {
		primary postgres.SourceInfo
		fails   map[string]error
		want    string
	}{
		"that stands on its history": {newPrimary, nil, "clone from standby for primary"},
		"but fails":                  {newPrimary, map[string]error{"standby": errors.New("broken pipe")}, "clone from standby for primary, clone from primary"},
		"but has more than it":       {postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 899}, nil, "clone from primary"},
		"but lacks what that has":    {postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 901}, nil, "clone from primary"},
		"but is on another timeline": {postgres.SourceInfo{SystemID: "sys", Timeline: 3, LSN: 900}, nil, "clone from primary"},
		"but of another system":      {postgres.SourceInfo{SystemID: "other", Timeline: 2, LSN: 900}, nil, "clone from primary"},
	} {
		s := &rewinding{infos: []postgres.SourceInfo{c.primary}, clone: c.fails}
		n, _ := rewindNode(s)
		err := n.clone(t.Context(), OnJob{Node: empty, Settings: rejoinSettings(), CloneFrom: lent}, rejoinUp)
		if got := strings.Join(s.done, ", "); !errors.Is(err, errStart) || got != "make room, lost , "+c.want {
			t.Errorf("a standby %s: %s, want %s (%v)", name, got, c.want, err)
		}
	}
}

// TestAPrimaryThatWasDeposedIsNotCopiedAfterAStandbyFailed: the copy of the standby took
// its time.
func TestAPrimaryThatWasDeposedIsNotCopiedAfterAStandbyFailed(t *testing.T) {
	deposed := newPrimary
	deposed.InRecovery = true
	// Asked twice before there is room, and twice about the standby.
	s := &rewinding{infos: []postgres.SourceInfo{newPrimary, newPrimary, newPrimary, newPrimary, deposed}, clone: map[string]error{"standby": errors.New("broken pipe")}}
	n, _ := rewindNode(s)
	empty := cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
	err := n.clone(t.Context(), OnJob{Node: empty, Settings: rejoinSettings(), CloneFrom: &election.Upstream{Member: "pg3", Host: "standby", Port: "5432"}}, rejoinUp)
	if got := strings.Join(s.done, ", "); err == nil || got != "make room, lost , clone from standby for primary" {
		t.Errorf("%s (%v)", got, err)
	}
}

// TestNoStandbyIsCopiedForAMemberThatCommitsRestOn: it may have confirmed what that
// standby does not have.
func TestNoStandbyIsCopiedForAMemberThatCommitsRestOn(t *testing.T) {
	for name, c := range map[string]struct {
		view func(v *cluster.View)
		want bool
	}{
		"nobody is waited for": {func(*cluster.View) {}, true},
		"others are": {func(v *cluster.View) {
			v.Durability = &cluster.Durability{Rules: []cluster.Rule{{Primary: "pg2", Voters: []string{"pg3"}, Need: 1}}}
		}, true},
		"it is a voter": {func(v *cluster.View) {
			v.Durability = &cluster.Durability{Rules: []cluster.Rule{{Primary: "pg2", Voters: []string{"pg3", "PG1"}, Need: 1}, {Primary: "pg2"}}}
		}, false},
		"it was the primary": {func(v *cluster.View) {
			v.Durability = &cluster.Durability{Rules: []cluster.Rule{{Primary: "pg1", Voters: []string{"pg3"}, Need: 1}}}
		}, false},
		"nobody can read who is": {func(v *cluster.View) { v.Durability = &cluster.Durability{Unreadable: true} }, false},
		"Patroni waits for it":   {func(v *cluster.View) { v.Sync = &cluster.Sync{Leader: "pg2", SyncStandby: "pg3,pg1"} }, false},
	} {
		r := newRig(t)
		r.view.Leader = &cluster.Leader{Name: "pg2", Term: 60}
		r.view.Members = map[string]cluster.Member{
			"pg2": {Name: "pg2", ConnURL: "postgres://pg2:5432/postgres", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: 2},
			"pg3": {Name: "pg3", ConnURL: "postgres://pg3:5432/postgres", State: cluster.StateRunning, Role: cluster.RoleReplica, Timeline: 2, Tags: cluster.Tags{"clonefrom": true}},
		}
		c.view(&r.view)
		r.see()
		if got := r.loop.cloneFrom() != nil; got != c.want {
			t.Errorf("%s: a standby is copied: %t, want %t", name, got, c.want)
		}
	}
}

func TestTheProofOfACloneComesFromThePrimaryWhoeverIsCopied(t *testing.T) {
	standby := newPrimary
	standby.InRecovery = true
	s := &rewinding{infos: []postgres.SourceInfo{standby}}
	n, _ := rewindNode(s)
	lent := &election.Upstream{Member: "pg3", Host: "standby", Port: "5432"}
	err := n.clone(t.Context(), OnJob{Node: divergedNode, Settings: rejoinSettings(), CloneFrom: lent}, rejoinUp)
	if err == nil || !strings.Contains(err.Error(), "it is a standby") || len(s.done) != 0 {
		t.Errorf("%v, %v", s.done, err)
	}
}

func TestWhichStandbyIsLentForClones(t *testing.T) {
	member := func(name string, change ...func(*cluster.Member)) cluster.Member {
		m := cluster.Member{Name: name, ConnURL: "postgres://" + name + ":5432/postgres", State: cluster.StateRunning, Role: cluster.RoleReplica,
			ReplicationState: "streaming", Timeline: 2, Tags: cluster.Tags{"clonefrom": true}}
		for _, f := range change {
			f(&m)
		}
		return m
	}
	for name, c := range map[string]struct {
		member cluster.Member
		want   bool
	}{
		"one that streams":         {member("pg3"), true},
		"without the tag":          {member("pg3", func(m *cluster.Member) { m.Tags = nil }), false},
		"one that does not run":    {member("pg3", func(m *cluster.Member) { m.State = cluster.StateStarting }), false},
		"one that does not stream": {member("pg3", func(m *cluster.Member) { m.ReplicationState = "in archive recovery" }), false},
		"an older Patroni's":       {member("pg3", func(m *cluster.Member) { m.ReplicationState = "" }), true},
		"on another timeline":      {member("pg3", func(m *cluster.Member) { m.Timeline = 1 }), false},
		"the leader itself":        {member("pg2", func(m *cluster.Member) { m.Role = cluster.RolePrimary }), false},
		"this member itself":       {member("pg1"), false},
		"without an address":       {member("pg3", func(m *cluster.Member) { m.ConnURL = "" }), false},
	} {
		r := newRig(t)
		r.view.Leader = &cluster.Leader{Name: "pg2", Term: 60}
		leader := member("pg2", func(m *cluster.Member) { m.Role, m.ReplicationState = cluster.RolePrimary, "" })
		r.view.Members = map[string]cluster.Member{"pg2": leader, c.member.Name: c.member}
		r.see()
		if got := r.loop.cloneFrom(); (got != nil) != c.want || got != nil && (got.Host != "pg3" || got.Port != "5432") {
			t.Errorf("%s: %+v, want %t", name, got, c.want)
		}
	}
}
