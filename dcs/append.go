package dcs

import (
	"maps"
	"slices"
	"strconv"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// What an agent writes all the time is written by hand: byte for byte what compact
// gives (a fuzz test compares them), in a tenth of the time.

// object is one JSON object in the making.
type object struct {
	text  []byte
	inner bool // something stands in it already
	// unusual: a text needs more than quotes, which is left to encoding/json.
	unusual bool
}

func (o *object) open() { o.text, o.inner = append(o.text, '{'), false }

func (o *object) close() { o.text, o.inner = append(o.text, '}'), true }

func (o *object) name(name string) {
	if o.inner {
		o.text = append(o.text, ',')
	}
	o.inner = true
	o.text = append(append(append(o.text, '"'), name...), '"', ':')
}

func (o *object) string(name, value string) {
	o.name(name)
	o.look(value)
	o.text = append(append(append(o.text, '"'), value...), '"')
}

func (o *object) look(text string) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			o.unusual = true
		}
	}
}

func (o *object) int(name string, value int64) {
	o.name(name)
	o.text = strconv.AppendInt(o.text, value, 10)
}

func (o *object) uint(name string, value uint64) {
	o.name(name)
	o.text = strconv.AppendUint(o.text, value, 10)
}

func (o *object) bool(name string, value bool) {
	o.name(name)
	o.text = strconv.AppendBool(o.text, value)
}

// The rest leaves out what is zero.

func (o *object) someString(name, value string) {
	if value != "" {
		o.string(name, value)
	}
}

func (o *object) someUint(name string, value uint64) {
	if value != 0 {
		o.uint(name, value)
	}
}

func (o *object) someBool(name string, value bool) {
	if value {
		o.bool(name, value)
	}
}

// encodeMember writes a member key.
func encodeMember(m *cluster.Member) ([]byte, error) {
	k := m.Keeper
	if len(m.Tags)+len(m.PendingReason)+len(m.ScheduledRestart) > 0 || k != nil && (k.SyncCommit != nil || len(k.StoreTroubles) > 0 || k.Watchdog != "" || k.Pooler != "") {
		return compact(m)
	}
	o := object{text: make([]byte, 0, 384)}
	o.open()
	o.string("conn_url", m.ConnURL)
	o.string("api_url", m.APIURL)
	o.string("state", string(m.State))
	o.string("role", string(m.Role))
	o.string("version", m.Version)
	o.someString("proxy_url", m.ProxyURL)
	if m.CheckpointAfterPromote != nil {
		o.bool("checkpoint_after_promote", *m.CheckpointAfterPromote)
	}
	o.someBool("pending_restart", m.PendingRestart)
	o.someUint("xlog_location", uint64(m.XlogLocation))
	o.someUint("receive_lsn", uint64(m.ReceiveLSN))
	o.someUint("replay_lsn", uint64(m.ReplayLSN))
	o.someString("replication_state", m.ReplicationState)
	o.someUint("timeline", uint64(m.Timeline))
	o.someBool("pause", m.Pause)
	if k != nil {
		o.name("pgkeeper")
		o.open()
		o.keeper(k)
		o.close()
	}
	o.close()
	if o.unusual {
		return compact(m)
	}
	return o.text, nil
}

func (o *object) keeper(k *cluster.MemberKeeper) {
	o.string("version", k.Version)
	o.string("node", k.Node)
	if k.Promised != 0 {
		o.int("promised", int64(k.Promised))
	}
	if k.Vacancy != 0 {
		o.int("vacancy", k.Vacancy)
	}
	if p := k.Position; p != nil {
		o.name("position")
		o.open()
		o.uint("timeline", uint64(p.Timeline))
		o.uint("lsn", uint64(p.LSN))
		o.close()
	}
	o.someString("switchover", k.Switchover)
	if k.Gone != 0 {
		o.int("holder_gone", k.Gone)
	}
	o.someString("reason", string(k.Reason))
	o.someString("progress", k.Progress)
	o.someString("commit_gate", string(k.Gate))
	o.someString("sick", string(k.Sick))
}

// encodeStatus writes the key status.
func encodeStatus(p *cluster.Positions) ([]byte, error) {
	if len(p.Retain) > 0 {
		return compact(p)
	}
	o := object{text: make([]byte, 0, 128)}
	o.open()
	o.uint("optime", uint64(p.Optime))
	o.positions("slots", p.Slots)
	o.someUint("timeline", uint64(p.Timeline))
	o.someUint("parent", uint64(p.Parent))
	o.someUint("switch", uint64(p.Switch))
	o.positions("replayed", p.Replayed)
	o.close()
	if o.unusual {
		return compact(p)
	}
	return o.text, nil
}

// positions writes positions by name; nothing when there are none.
func (o *object) positions(of string, all map[string]cluster.LSN) {
	if len(all) == 0 {
		return
	}
	o.name(of)
	o.open()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		o.look(name)
		o.uint(name, uint64(all[name]))
	}
	o.close()
}

// encodeBeat writes the key pgkeeper/beat.
func encodeBeat(b *cluster.Beat) []byte {
	o := object{text: make([]byte, 0, 48)}
	o.open()
	o.int("ttl_ms", b.TTL)
	o.int("term", int64(b.Term))
	o.close()
	return o.text
}
