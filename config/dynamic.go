package config

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// storeConfig is what problems of the store's configuration name as their file.
const storeConfig = "dynamic configuration"

// Dynamic reads the dynamic configuration over cluster.DefaultSettings. A bad
// value is named and leaves its field at the default.
func Dynamic(raw json.RawMessage) (cluster.Settings, Problems) {
	return DynamicOver(cluster.DefaultSettings(), raw)
}

// DynamicOver reads the dynamic configuration for an agent that runs: a key that
// is absent has its default, a bad value keeps what last says.
func DynamicOver(last cluster.Settings, raw json.RawMessage) (cluster.Settings, Problems) {
	var r report
	n, err := parseJSON(raw, storeConfig)
	if err != nil {
		r.add(Error, Position{File: storeConfig}, "", "", err.Error(), "write it again: pgkeeper edit-config --replace FILE")
		return last, r.sorted()
	}
	if n.shape == shapeNull {
		n = &node{shape: shapeDict, pos: n.pos}
	}
	settings := r.settings(n, "", last)
	return settings, r.sorted()
}

// settings decodes a dynamic configuration that stands under prefix.
func (r *report) settings(n *node, prefix string, last cluster.Settings) cluster.Settings {
	if n.shape != shapeDict {
		r.add(Error, n.pos, prefix, n.show(), "must be a mapping, not "+n.shape.String(), "write ttl: 10 and so on below it")
		return last
	}
	d, kept := draft{}, draft{}
	d.settings, kept.settings = cluster.DefaultSettings(), last
	for i := range dynamic().keys {
		k := &dynamic().keys[i]
		value := n.at(k.Path)
		if value == nil || r.value(k, join(prefix, k.Path), value, &d) || k.into == nil {
			continue
		}
		restore(k.into(&d), k.into(&kept))
	}
	l := loader{}
	l.unknown(n, dynamic().root, "")
	for _, p := range l.problems {
		p.Key = join(prefix, p.Key)
		r.problems = append(r.problems, p)
	}
	r.timing(n, prefix, &d.settings, last)
	r.gate(n, prefix, &d.settings)
	r.probe(n, prefix, &d.settings)
	r.parameters(n.at("postgresql.parameters"), join(prefix, "postgresql.parameters"))
	return d.settings
}

// restore puts back what a refused value replaced.
func restore(into, from any) {
	switch into := into.(type) {
	case *string:
		copyOf(into, from)
	case *bool:
		copyOf(into, from)
	case *int:
		copyOf(into, from)
	case *int64:
		copyOf(into, from)
	case *time.Duration:
		copyOf(into, from)
	case *[]string:
		copyOf(into, from)
	case *map[string]string:
		copyOf(into, from)
	case *map[string]map[string]any:
		copyOf(into, from)
	case *[]map[string]any:
		copyOf(into, from)
	}
}

func copyOf[T any](into *T, from any) {
	if from, ok := from.(*T); ok {
		*into = *from
	}
}

// timing corrects as Patroni does (a warning where a value that was written
// changes) and refuses what the lease cannot be kept with.
func (r *report) timing(n *node, prefix string, s *cluster.Settings, last cluster.Settings) {
	at := func(key string) (Position, string) {
		if v := n.get(key); v != nil {
			return v.pos, v.show()
		}
		return n.pos, ""
	}
	if s.LoopWait > 0 && s.RetryTimeout > 0 {
		was := *s
		fitTiming(s)
		for _, c := range []struct {
			key      string
			was, now time.Duration
		}{{"loop_wait", was.LoopWait, s.LoopWait}, {"retry_timeout", was.RetryTimeout, s.RetryTimeout}} {
			if n.get(c.key) != nil && c.was != c.now {
				pos, value := at(c.key)
				r.add(Warning, pos, join(prefix, c.key), value, "loop_wait + 2 x retry_timeout must not be more than ttl ("+was.TTL.String()+"), so "+c.now.String()+" is used", "raise ttl or lower it yourself")
			}
		}
	}
	if err := s.CheckTiming(); err != nil {
		key := "ttl"
		if s.TTL >= cluster.MinTTL {
			i := slices.IndexFunc([]string{"loop_wait", "retry_timeout"}, func(k string) bool { return n.get(k) != nil })
			key = []string{"ttl", "loop_wait", "retry_timeout"}[i+1]
		}
		pos, value := at(key)
		r.add(Error, pos, join(prefix, key), value, err.Error(), "")
		s.TTL, s.LoopWait, s.RetryTimeout = last.TTL, last.LoopWait, last.RetryTimeout
		return
	}
	if text := s.TimingWarning(time.Second); text != "" {
		pos, value := at("ttl")
		r.add(Warning, pos, join(prefix, "ttl"), value, text, "")
	}
}

// gate refuses what would take the place of the gate's name.
func (r *report) gate(n *node, prefix string, s *cluster.Settings) {
	if !s.CommitGate {
		return
	}
	refuse := func(why, fix string) {
		r.add(Error, n.at("commit_gate").pos, join(prefix, "commit_gate"), "on", why, fix)
		s.CommitGate = false
	}
	if s.SynchronousMode != "off" {
		refuse("does not go with synchronous_mode, whose standbys confirm commits themselves", "turn one of them off")
	}
	for name := range s.PostgreSQL.Parameters {
		if strings.EqualFold(name, "synchronous_standby_names") {
			refuse("sets synchronous_standby_names, which postgresql.parameters sets too", "remove it there, or turn commit_gate off")
		}
	}
}

// leastProbe is the least probe_timeout: what a busy machine keeps a connection waiting
// now and then must not look like a server that hangs.
const leastProbe = time.Second

// probe refuses a bound that would replace primaries for nothing.
func (r *report) probe(n *node, prefix string, s *cluster.Settings) {
	if t := s.ProbeTimeout; t != 0 && t < leastProbe {
		v := n.at("probe_timeout")
		r.add(Error, v.pos, join(prefix, "probe_timeout"), v.show(), "must be at least "+leastProbe.String()+", or 0 for never", "raise it; the default is "+cluster.DefaultProbeTimeout.String())
		s.ProbeTimeout = cluster.DefaultProbeTimeout
	}
}

// fitTiming makes loop_wait + 2 x retry_timeout fit into ttl: loop_wait gives
// way first, down to a second, then retry_timeout.
func fitTiming(s *cluster.Settings) {
	if s.LoopWait+2*s.RetryTimeout <= s.TTL {
		return
	}
	s.LoopWait = min(s.LoopWait, max(time.Second, s.TTL-2*s.RetryTimeout))
	if s.LoopWait+2*s.RetryTimeout > s.TTL && s.TTL > time.Second {
		half := (s.TTL - time.Second) / 2
		if half > time.Second {
			half = half.Truncate(time.Second)
		}
		s.RetryTimeout = min(s.RetryTimeout, half)
	}
}

// bootstrapDCS checks the dynamic configuration in a file, line by line.
func (l *loader) bootstrapDCS(n *node) {
	l.draft.settings = l.report.settings(n, "bootstrap.dcs", cluster.DefaultSettings())
}
