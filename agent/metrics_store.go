package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// reported is one metric that is left out as long as nobody knows its value: unknown is
// never 0.
type reported struct {
	name, help string
	label      string // of all values, empty for none
	counter    bool
	// values by label; none when it is not known.
	values func(s *cluster.Status) map[string]float64
}

func single(v float64) map[string]float64 { return map[string]float64{"": v} }

// ofStore is a value that is known once the store has been looked at.
func ofStore(value func(h *cluster.StoreHealth) float64) func(*cluster.Status) map[string]float64 {
	return func(s *cluster.Status) map[string]float64 {
		if s.Store == nil {
			return nil
		}
		return single(value(s.Store))
	}
}

var reportedTable = []reported{
	{"pgkeeper_etcd_trouble", "How many troubles of that kind etcd itself has, as this agent sees it; `pgkeeper list` names each.", "kind", false,
		func(s *cluster.Status) map[string]float64 {
			if s.Store == nil {
				return nil
			}
			counts := map[string]float64{}
			for _, kind := range cluster.StoreTroubleKinds() {
				counts[string(kind)] = 0
			}
			for _, t := range s.Store.Troubles {
				counts[string(t.Kind)]++
			}
			return counts
		}},
	{"pgkeeper_etcd_leader_here", "1 while etcd's own leader runs on this machine.", "", false,
		ofStore(func(h *cluster.StoreHealth) float64 { return boolean(h.LeaderHere) })},
	{"pgkeeper_etcd_elections_total", "Raft terms that etcd has gone through since this agent's worker started.", "", true,
		ofStore(func(h *cluster.StoreHealth) float64 { return float64(h.Elections) })},
	{"pgkeeper_etcd_write_median_seconds", "Median duration of this agent's last writes to etcd; absent when there were fewer than five in two minutes.", "", false,
		func(s *cluster.Status) map[string]float64 {
			if s.Store == nil || s.Store.WriteMedian == 0 {
				return nil
			}
			return single(s.Store.WriteMedian.Seconds())
		}},
	{"pgkeeper_etcd_db_size_bytes", "Greatest database of an etcd member that was asked.", "", false,
		ofStore(func(h *cluster.StoreHealth) float64 { return float64(h.DBSize) })},
	{"pgkeeper_etcd_certificate_end_timestamp_seconds", "When the first certificate between this agent and etcd ends, in Unix time; absent without TLS.", "", false,
		func(s *cluster.Status) map[string]float64 {
			if s.Store == nil || s.Store.CertificateEnds == 0 {
				return nil
			}
			return single(float64(s.Store.CertificateEnds))
		}},
	{"pgkeeper_slot_retained_bytes", "WAL that a replication slot on this server keeps, by slot; absent for slots that keep none.", "slot", false, retainedBySlot},
	{"pgkeeper_sync_commit_weakened", "Settings of synchronous_commit to local or off: of the server, roles, databases, roles in databases. Of a primary only, and absent while unknown.", "", false,
		func(s *cluster.Status) map[string]float64 {
			sc := s.Node.Value.SyncCommit
			if !s.Node.Good() || sc == nil || sc.Weakened == nil || sc.WeakenedUnknown != "" {
				return nil
			}
			return single(float64(len(sc.Weakened)))
		}},
	{"pgkeeper_sync_waits_cancelled_total", "Commits whose wait for a standby was cancelled, by the primary's log, since this agent's worker began to read it; absent while that cannot be read.", "", true,
		func(s *cluster.Status) map[string]float64 {
			sc := s.Node.Value.SyncCommit
			if !s.Node.Good() || sc == nil || sc.CancelledWaits == nil || sc.CancelledUnknown != "" {
				return nil
			}
			return single(float64(*sc.CancelledWaits))
		}},
}

// retainedBySlot is how far each slot of the server lies behind the newest WAL there.
func retainedBySlot(s *cluster.Status) map[string]float64 {
	if !s.Node.Good() {
		return nil
	}
	newest := max(s.Node.Value.WriteLSN, s.Node.Value.ReceiveLSN)
	bySlot := map[string]float64{}
	for _, slot := range s.Node.Value.Slots {
		if slot.Restart.Known() && newest.Known() {
			bySlot[slot.Name] = float64(slot.Restart.Behind(newest))
		}
	}
	return bySlot
}

// collectReported sends what is known.
func (g *gauges) collectReported(out chan<- prometheus.Metric, s *cluster.Status) {
	for _, row := range reportedTable {
		kind, labels := prometheus.GaugeValue, []string(nil)
		if row.counter {
			kind = prometheus.CounterValue
		}
		if row.label != "" {
			labels = []string{row.label}
		}
		desc := prometheus.NewDesc(row.name, row.help, labels, g.labels)
		for label, value := range row.values(s) {
			if row.label == "" {
				out <- prometheus.MustNewConstMetric(desc, kind, value)
				continue
			}
			out <- prometheus.MustNewConstMetric(desc, kind, value, label)
		}
	}
}
