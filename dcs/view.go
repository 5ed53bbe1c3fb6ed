package dcs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// folder makes the next view out of an older one. Views are immutable: it
// changes a copy, and copies each map and slice before its first change.
type folder struct {
	prefix string // of every key
	memo   *Memo
	view   cluster.View

	news bool // more than positions and the beat has changed

	membersOwned, resultsOwned, requestsOwned, problemsOwned bool
}

// apply folds one event.
func (f *folder) apply(e WatchEvent) {
	f.news = false
	for _, c := range e.Changes {
		f.fold(c)
	}
	f.view.Revision = max(f.view.Revision, e.Revision)
	if f.news {
		f.view.News = f.view.Revision
	}
}

// fold applies one change.
func (f *folder) fold(c Change) {
	key, ok := strings.CutPrefix(c.Key, f.prefix)
	if !ok {
		return
	}
	f.clearProblem(key)
	name, isMember := strings.CutPrefix(key, keyMembers)
	var member cluster.Member
	known := false
	if isMember {
		member, known = f.view.Members[name]
	}
	status, beat := f.view.Status, f.view.Beat
	err := f.set(key, c)
	if err != nil {
		f.problem(key, err)
	}
	switch {
	case err != nil, c.Deleted:
		f.news = true
	case isMember:
		now := f.view.Members[name]
		f.news = f.news || !known || member.LeaseID != now.LeaseID || !now.OnlyMoved(&member)
	case key == keyStatus:
		f.news = f.news || !onlyMoved(status, f.view.Status)
	case key == keyBeat:
		f.news = f.news || !goesOn(beat, f.view.Beat, f.view.Leader)
	default:
		f.news = true
	}
}

// onlyMoved reports whether what the primary publishes differs in positions only.
func onlyMoved(old, now *cluster.Positions) bool {
	return old != nil && now != nil && old.Timeline == now.Timeline && slices.Equal(old.Retain, now.Retain)
}

// goesOn reports whether a beat is one more of the holder that leads.
func goesOn(old, now *cluster.Beat, leader *cluster.Leader) bool {
	return old != nil && now != nil && leader != nil && now.Term == leader.Term && old.Term == now.Term && old.TTL == now.TTL
}

// set dispatches on the key; a deleted key gives its field's zero value.
func (f *folder) set(key string, c Change) error {
	if done, err := f.setNamed(key, c); done {
		return err
	}
	v := &f.view
	var err error
	switch key {
	case keyInitialize:
		v.Initialize, err = decoded(c, decodeInitialize)
	case keyLeader:
		v.Leader, err = decoded(c, decodeLeader)
	case keyConfig:
		v.Config, err = decoded(c, decodeConfig)
	case keyFailover:
		v.Failover, err = decoded(c, decodeFailover)
		v.FailoverRev = present(c)
	case keySync:
		v.Sync, err = decoded(c, f.decodeSync)
	case keyHistory:
		v.History, v.HistoryRev = nil, present(c)
		if !c.Deleted {
			err = meant(f.memo, c.Value, &v.History)
		}
	case keyStatus:
		v.Status, err = decoded(c, f.decodeStatus)
	case keyOptime:
		err = f.setOptime(c)
	case keyFailsafe:
		v.Failsafe, v.FailsafeRev = nil, present(c)
		if !c.Deleted {
			err = meant(f.memo, c.Value, &v.Failsafe)
		}
	default:
		err = f.setKeeper(key, c)
	}
	return err
}

// setKeeper covers pgkeeper's own single keys.
func (f *folder) setKeeper(key string, c Change) (err error) {
	v := &f.view
	switch key {
	case keyBeat:
		v.Beat, err = decoded(c, f.decodeBeat)
	case keyHolder:
		v.Holder, err = decoded(c, f.decodeHolder)
	case keyHandover:
		v.Handover, err = decoded(c, f.decodeHandover)
	case keyRelease:
		v.Release, err = decoded(c, f.decodeRelease)
	case keyTimelines:
		v.Timelines, err = decoded(c, f.decodeTimelines)
	case keyDurability:
		v.Durability, err = decoded(c, f.decodeDurability)
	case keySwitchover:
		v.Switchover, err = decoded(c, f.decodeSwitchover)
	case keyPeerKey:
		v.PeerKeyRev = present(c) // never the key: a view is shown and recorded
	case keyPausedPrimary:
		v.PausedAt, err = decoded(c, decodePaused)
	}
	return err
}

// setNamed covers the keys that end in a name; done is false for all others.
func (f *folder) setNamed(key string, c Change) (done bool, err error) {
	if name, ok := strings.CutPrefix(key, keyMembers); ok {
		if validName(name) {
			err = f.setMember(name, c)
		}
		return true, err
	}
	if rest, ok := strings.CutPrefix(key, keyRequests); ok {
		if member, id, ok := splitRequest(rest); ok {
			err = f.setRequest(member, id, c)
		}
		return true, err
	}
	if id, ok := strings.CutPrefix(key, keyResults); ok {
		if validName(id) {
			err = f.setResult(id, c)
		}
		return true, err
	}
	return false, nil
}

func (f *folder) setMember(name string, c Change) (err error) {
	own(&f.view.Members, &f.membersOwned)
	if c.Deleted {
		delete(f.view.Members, name)
		return nil
	}
	m, known := recall[cluster.Member](f.memo, c.Value)
	if !known {
		m, err = decodeMember(c.Value)
	}
	m.Name, m.LeaseID, m.ModRevision = name, c.Lease, c.ModRevision
	f.view.Members[name] = m
	return err
}

func (f *folder) setResult(id string, c Change) (err error) {
	own(&f.view.Results, &f.resultsOwned)
	if c.Deleted {
		delete(f.view.Results, id)
		return nil
	}
	f.view.Results[id], err = decodeResult(id, c.Pair)
	return err
}

// setRequest keeps the requests in the order in which they were made.
func (f *folder) setRequest(member, id string, c Change) (err error) {
	if !f.requestsOwned {
		f.view.Requests, f.requestsOwned = slices.Clone(f.view.Requests), true
	}
	f.view.Requests = slices.DeleteFunc(f.view.Requests, func(r cluster.Request) bool {
		return r.Member == member && r.ID == id
	})
	if c.Deleted {
		return nil
	}
	r, err := decodeRequest(member, id, c.Pair)
	f.view.Requests = append(f.view.Requests, r)
	slices.SortFunc(f.view.Requests, func(a, b cluster.Request) int {
		return cmp.Or(cmp.Compare(a.ModRevision, b.ModRevision), cmp.Compare(a.Member, b.Member), cmp.Compare(a.ID, b.ID))
	})
	return err
}

// setOptime takes the legacy key only while `status` says no more than it: a
// Patroni holder that still writes both writes the same position to each.
func (f *folder) setOptime(c Change) error {
	s := f.view.Status
	if s != nil && (s.Slots != nil || s.Retain != nil || s.Timeline != 0) {
		return nil
	}
	next, err := decoded(c, decodeOptime)
	if next != nil {
		f.view.Status = next
	}
	return err
}

// decodeLeader reads the bare name.
func decodeLeader(p Pair) (*cluster.Leader, error) {
	return &cluster.Leader{Name: string(p.Value), LeaseID: p.Lease, Term: cluster.Term(p.ModRevision)}, nil
}

// decoded applies decode to a put and gives nil for a delete.
func decoded[T any](c Change, decode func(Pair) (*T, error)) (*T, error) {
	if c.Deleted {
		return nil, nil
	}
	return decode(c.Pair)
}

// present is the key's mod_revision after the change, 0 when it is gone.
func present(c Change) int64 {
	if c.Deleted {
		return 0
	}
	return c.ModRevision
}

// own replaces a map by its copy once per view.
func own[V any](m *map[string]V, owned *bool) {
	if *owned {
		return
	}
	*owned = true
	if *m = maps.Clone(*m); *m == nil {
		*m = map[string]V{}
	}
}

// problemPrefix begins every line about key, and about no other key.
func problemPrefix(key string) string { return fmt.Sprintf("key %q: ", key) }

func (f *folder) clearProblem(key string) {
	if len(f.view.Problems) == 0 { // as in nearly every view
		return
	}
	about := func(line string) bool { return strings.HasPrefix(line, problemPrefix(key)) }
	if slices.ContainsFunc(f.view.Problems, about) {
		f.ownProblems()
		f.view.Problems = slices.DeleteFunc(f.view.Problems, about)
	}
}

func (f *folder) problem(key string, err error) {
	f.ownProblems()
	f.view.Problems = append(f.view.Problems, problemPrefix(key)+err.Error())
	slices.Sort(f.view.Problems)
}

func (f *folder) ownProblems() {
	if !f.problemsOwned {
		f.view.Problems, f.problemsOwned = slices.Clone(f.view.Problems), true
	}
}
