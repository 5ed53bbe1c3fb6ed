package dcs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// compact writes v as JSON without white space and without escaping <, > and &,
// as Patroni does: tools compare values by bytes.
func compact(v any) ([]byte, error) {
	w, _ := writers.Get().(*writer) // nothing else is ever in the pool
	defer writers.Put(w)
	w.buf.Reset()
	if err := w.enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return bytes.Clone(bytes.TrimSuffix(w.buf.Bytes(), []byte("\n"))), nil
}

// writer is an encoder with its buffer; writers keeps idle ones.
type writer struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var writers = sync.Pool{New: func() any {
	w := &writer{}
	w.enc = json.NewEncoder(&w.buf)
	w.enc.SetEscapeHTML(false)
	return w
}}

// compactObject checks that raw is one JSON object and squeezes its spaces out.
func compactObject(raw json.RawMessage) ([]byte, error) {
	if err := wantObject(raw); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func wantObject(raw []byte) error {
	if !json.Valid(raw) {
		return fmt.Errorf("%s is not JSON", excerpt(raw))
	}
	if trimmed := bytes.TrimSpace(raw); trimmed[0] != '{' {
		return fmt.Errorf("%s is JSON, but not an object", excerpt(raw))
	}
	return nil
}

// excerpt quotes the beginning of a value for a message to people.
func excerpt(value []byte) string {
	const most = 60
	if len(value) > most {
		return fmt.Sprintf("%q...", value[:most])
	}
	return fmt.Sprintf("%q", value)
}

// syncWire is `sync` as Patroni writes it: no standby is null, not "".
type syncWire struct {
	Leader      *string `json:"leader"`
	Quorum      int     `json:"quorum"`
	SyncStandby *string `json:"sync_standby"`
}

func encodeSync(s cluster.Sync) ([]byte, error) {
	return compact(syncWire{Leader: orNull(s.Leader), Quorum: s.Quorum, SyncStandby: orNull(s.SyncStandby)})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// encodeFailover writes {} for an empty wish: Patroni never deletes the key.
func encodeFailover(f cluster.Failover) ([]byte, error) {
	if f.Empty() {
		return []byte("{}"), nil
	}
	return compact(f)
}

// encodeHistory writes [] on timeline 1, never null.
func encodeHistory(h cluster.History) ([]byte, error) {
	if h == nil {
		h = cluster.History{}
	}
	return compact(h)
}
