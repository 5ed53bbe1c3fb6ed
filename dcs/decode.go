package dcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Decoders turn one stored value into one word of cluster. None refuses: what
// cannot be read gives the zero value and an error that becomes a line in
// View.Problems. The key's revision and lease survive a bad value, so that a
// writer can still compare them.

// decodeInto reads JSON into *into. A field of a wrong type is left out and
// named by the error; the fields that could be read are kept when partial is
// set, else everything is zero.
func decodeInto[T any](value []byte, into *T, partial bool) error {
	err := json.Unmarshal(value, into)
	if err == nil {
		if bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
			return errors.New("null is not a value of this key")
		}
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if !partial || !errors.As(err, &wrongType) || wrongType.Field == "" {
		var zero T
		*into = zero
	}
	return fmt.Errorf("cannot read %s: %w", excerpt(value), err)
}

// decodeMember reads a member key. A value that starts with "postgres" is the
// old form: a connection URL with the member's API URL as application_name.
func decodeMember(value []byte) (cluster.Member, error) {
	var m cluster.Member
	var err error
	if bytes.HasPrefix(value, []byte("postgres")) {
		m, err = decodeMemberURL(string(value))
	} else {
		err = decodeInto(value, &m, true)
	}
	if m.Role == "master" {
		m.Role = cluster.RolePrimary
	}
	return m, err
}

func decodeMemberURL(value string) (cluster.Member, error) {
	u, err := url.Parse(value)
	if err != nil {
		// url.Error repeats the whole URL, password included.
		return cluster.Member{}, errors.New("cannot read it as a connection URL")
	}
	query := u.Query()
	api := query.Get("application_name")
	query.Del("application_name")
	u.RawQuery = query.Encode()
	return cluster.Member{ConnURL: u.String(), APIURL: api}, nil
}

// decodeFailover reads `failover`: an object, {} for none, or the old text
// leader:candidate.
func decodeFailover(p Pair) (*cluster.Failover, error) {
	f := &cluster.Failover{}
	err := decodeInto(p.Value, f, false)
	if err != nil {
		if leader, candidate, ok := legacyFailover(string(p.Value)); ok {
			f.Leader, f.Member, err = leader, candidate, nil
		}
	}
	f.ModRevision = p.ModRevision
	if !validName(f.ID) { // no key could hold the answer, and the wish would stand for ever
		f.ID = ""
	}
	return f, err
}

func legacyFailover(text string) (leader, candidate string, ok bool) {
	if text == "" || strings.ContainsAny(text, "{}[]\"\n") || !utf8.ValidString(text) {
		return "", "", text == ""
	}
	leader, candidate, ok = strings.Cut(text, ":")
	leader, candidate = strings.TrimSpace(leader), strings.TrimSpace(candidate)
	return leader, candidate, ok && !strings.Contains(candidate, ":") && (leader != "" || candidate != "")
}

// decodeConfig keeps the text of an object; anything else is no configuration.
func decodeConfig(p Pair) (*cluster.Config, error) {
	c := &cluster.Config{ModRevision: p.ModRevision}
	if err := wantObject(p.Value); err != nil {
		return c, err
	}
	c.Raw = bytes.Clone(p.Value)
	return c, nil
}

// decodeInitialize keeps the text as it is even when it is no number: empty
// means "a member bootstraps", which a bad value must never turn into (S7).
func decodeInitialize(p Pair) (*cluster.Initialize, error) {
	i := &cluster.Initialize{SystemID: string(p.Value), LeaseID: p.Lease, ModRevision: p.ModRevision}
	if i.SystemID == "" {
		return i, nil
	}
	if _, err := strconv.ParseUint(i.SystemID, 10, 64); err != nil {
		return i, fmt.Errorf("%s is not a system identifier, a decimal number", excerpt(p.Value))
	}
	return i, nil
}

// decodeStatus reads `status`: an object, or the bare position some Patroni
// versions wrote.
func (f *folder) decodeStatus(p Pair) (*cluster.Positions, error) {
	if s, known := recall[cluster.Positions](f.memo, p.Value); known {
		return &s, nil
	}
	if lsn, err := strconv.ParseUint(string(p.Value), 10, 64); err == nil {
		return &cluster.Positions{Optime: cluster.LSN(lsn)}, nil
	}
	s := &cluster.Positions{}
	err := decodeInto(p.Value, s, true)
	return s, err
}

// decodeOptime reads the legacy key optime/leader, a decimal position.
func decodeOptime(p Pair) (*cluster.Positions, error) {
	lsn, err := strconv.ParseUint(string(p.Value), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is not a position, a decimal number", excerpt(p.Value))
	}
	return &cluster.Positions{Optime: cluster.LSN(lsn)}, nil
}

// decodeSync reads `sync`; null members are empty.
func (f *folder) decodeSync(p Pair) (*cluster.Sync, error) {
	var w syncWire
	err := meant(f.memo, p.Value, &w)
	s := &cluster.Sync{Quorum: w.Quorum, ModRevision: p.ModRevision}
	if w.Leader != nil {
		s.Leader = *w.Leader
	}
	if w.SyncStandby != nil {
		s.SyncStandby = *w.SyncStandby
	}
	return s, err
}

// decodeBeat reads the beat. A bad value still beats: what candidates watch is
// its mod_revision. Term 0 stands in the transaction that made the term, whose
// revision nobody knows before it commits: that revision is the term.
func (f *folder) decodeBeat(p Pair) (*cluster.Beat, error) {
	known, ok := recall[cluster.Beat](f.memo, p.Value)
	b := &known
	var err error
	if !ok {
		err = decodeInto(p.Value, b, false)
	}
	b.ModRevision = p.ModRevision
	if err == nil && b.Term == 0 {
		b.Term = cluster.Term(p.ModRevision)
	}
	return b, err
}

// decodeRelease gives nil for a bad value: a release lets candidates skip the
// wait, so one that cannot be read must not exist.
func (f *folder) decodeRelease(p Pair) (*cluster.Release, error) {
	r := &cluster.Release{}
	if err := meant(f.memo, p.Value, r); err != nil {
		return nil, err
	}
	if r.By == "" || r.Term == 0 {
		return nil, fmt.Errorf("%s names no holder or no term", excerpt(p.Value))
	}
	r.ModRevision = p.ModRevision
	return r, nil
}

// decodeHandover gives nil for a bad value, as decodeRelease does: it tells a
// successor that its predecessor is stopped.
func (f *folder) decodeHandover(p Pair) (*cluster.Handover, error) {
	h := &cluster.Handover{}
	if err := meant(f.memo, p.Value, h); err != nil {
		return nil, err
	}
	if h.From == "" || h.To == "" {
		return nil, fmt.Errorf("%s does not say from whom to whom", excerpt(p.Value))
	}
	h.ModRevision = p.ModRevision
	return h, nil
}

// decodeTimelines leaves a bad value without reservations; NextTimelines then
// refuses, since it would hand out numbers again (S8).
func (f *folder) decodeTimelines(p Pair) (*cluster.Timelines, error) {
	t := &cluster.Timelines{}
	err := meant(f.memo, p.Value, t)
	if err == nil && len(t.Reserved) == 0 {
		err = fmt.Errorf("%s lists no reservation", excerpt(p.Value))
	}
	t.ModRevision = p.ModRevision
	return t, err
}

// decodePaused keeps a bad value standing without a name: it then names another
// node to everybody, and nobody elects.
func decodePaused(p Pair) (*cluster.PausedPrimary, error) {
	pp := &cluster.PausedPrimary{}
	err := decodeInto(p.Value, pp, false)
	pp.ModRevision = p.ModRevision
	return pp, err
}

func (f *folder) decodeSwitchover(p Pair) (*cluster.Switchover, error) {
	s := &cluster.Switchover{}
	err := meant(f.memo, p.Value, s)
	s.ModRevision = p.ModRevision
	return s, err
}

func (f *folder) decodeDurability(p Pair) (*cluster.Durability, error) {
	d := &cluster.Durability{}
	err := meant(f.memo, p.Value, d)
	d.ModRevision, d.Unreadable = p.ModRevision, err != nil
	return d, err
}

func (f *folder) decodeHolder(p Pair) (*cluster.Holder, error) {
	h := &cluster.Holder{}
	err := meant(f.memo, p.Value, h)
	return h, err
}

// decodeRequest trusts the key, not the value, about whom and which.
func decodeRequest(member, id string, p Pair) (cluster.Request, error) {
	var r cluster.Request
	err := decodeInto(p.Value, &r, false)
	r.Member, r.ID, r.ModRevision = member, id, p.ModRevision
	return r, err
}

func decodeResult(id string, p Pair) (cluster.Result, error) {
	var r cluster.Result
	err := decodeInto(p.Value, &r, false)
	r.ID = id
	return r, err
}
