package pgrw

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// wireMember is a member in GET /cluster and in GET /events.
type wireMember struct {
	Name             string         `json:"name"`
	Role             string         `json:"role"`
	State            string         `json:"state"`
	ReplicationState string         `json:"replication_state"`
	APIURL           string         `json:"api_url"`
	Host             string         `json:"host"`
	Port             int            `json:"port"`
	Timeline         uint32         `json:"timeline"`
	Tags             map[string]any `json:"tags"`
}

func (w wireMember) member() (member, bool) {
	if w.Host == "" || w.Port == 0 {
		return member{}, false
	}
	m := member{name: w.Name, address: address(w.Host, w.Port), role: w.Role, state: w.State, timeline: w.Timeline, tags: map[string]string{}}
	if w.State == "running" && w.ReplicationState != "" {
		m.state = w.ReplicationState
	}
	if base, found := strings.CutSuffix(w.APIURL, "/patroni"); found {
		m.api = base
	}
	for name, value := range w.Tags {
		m.tags[name] = fmt.Sprint(value)
	}
	return m, true
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func members(wire []wireMember) []member {
	all := make([]member, 0, len(wire))
	for _, w := range wire {
		if m, ok := w.member(); ok {
			all = append(all, m)
		}
	}
	return all
}

// wireCluster is GET /cluster, of Patroni or pgkeeper.
type wireCluster struct {
	Members []wireMember `json:"members"`
	Keeper  *struct {
		ViewAgeMS  int64  `json:"view_age_ms"`
		StoreError string `json:"store_error"`
	} `json:"pgkeeper"`
}

// readCluster reads an answer to GET /cluster.
func readCluster(raw []byte) (*report, error) {
	var w wireCluster
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	if len(w.Members) == 0 {
		return nil, fmt.Errorf("the agent knows no member")
	}
	if w.Keeper != nil && w.Keeper.StoreError != "" {
		return nil, fmt.Errorf("the agent cannot see the store: %s", w.Keeper.StoreError)
	}
	r := &report{members: members(w.Members)}
	for _, m := range r.members {
		if (m.role == "leader" || m.role == "master" || m.role == "primary") && m.state == "running" {
			r.leader = m.address
		}
	}
	return r, nil
}

// wireLeader is the data of the event leader, and part of a snapshot.
type wireLeader struct {
	Name string `json:"name"`
	Term int64  `json:"term"`
	Host string `json:"host"`
	Port int    `json:"port"`
}

// wireSnapshot is the data of the event snapshot.
type wireSnapshot struct {
	Leader  *wireLeader  `json:"leader"`
	Members []wireMember `json:"members"`
}

// wirePositions is the data of the event lsn.
type wirePositions struct {
	Members map[string]struct {
		LSN string `json:"lsn"`
	} `json:"members"`
}

// wireHeartbeat is the data of the event heartbeat.
type wireHeartbeat struct {
	StoreError string `json:"store_error"`
}

// stream folds the events of one agent into reports.
type stream struct {
	members map[string]wireMember
	leader  *wireLeader
	begun   bool
}

// fold takes one event in and returns what it means: a new report, positions by address,
// or neither. An event of an unknown name means nothing yet.
func (s *stream) fold(e sseEvent) (*report, map[string]LSN, error) {
	var into any
	var positions wirePositions
	var beat wireHeartbeat
	var snapshot wireSnapshot
	var leader wireLeader
	var m wireMember
	switch e.name {
	case "snapshot":
		into = &snapshot
	case "leader", "leader_lost":
		into = &leader
	case "member", "member_lost":
		into = &m
	case "lsn":
		into = &positions
	case "heartbeat":
		into = &beat
	default:
		return nil, nil, nil
	}
	if err := json.Unmarshal([]byte(e.data), into); err != nil {
		return nil, nil, fmt.Errorf("event %s: %w", e.name, err)
	}
	switch e.name {
	case "snapshot":
		s.begun, s.leader, s.members = true, snapshot.Leader, map[string]wireMember{}
		for _, m := range snapshot.Members {
			s.members[m.Name] = m
		}
	case "leader":
		s.leader = &leader
	case "leader_lost":
		s.leader = nil
	case "member":
		s.members[m.Name] = m
	case "member_lost":
		delete(s.members, m.Name)
	case "heartbeat":
		if beat.StoreError != "" {
			return nil, nil, fmt.Errorf("the agent cannot see the store: %s", beat.StoreError)
		}
		return nil, nil, nil
	case "lsn":
		return nil, s.positions(positions), nil
	}
	if !s.begun {
		return nil, nil, fmt.Errorf("event %s came before a snapshot", e.name)
	}
	return s.report(), nil, nil
}

func (s *stream) positions(w wirePositions) map[string]LSN {
	out := map[string]LSN{}
	for name, p := range w.Members {
		lsn, err := ParseLSN(p.LSN)
		if m, known := s.members[name]; known && err == nil {
			out[address(m.Host, m.Port)] = lsn
		}
	}
	return out
}

func (s *stream) report() *report {
	r := &report{}
	for _, w := range s.members {
		if m, ok := w.member(); ok {
			r.members = append(r.members, m)
		}
	}
	if s.leader != nil && s.leader.Host != "" {
		r.leader, r.term = address(s.leader.Host, s.leader.Port), s.leader.Term
	}
	return r
}
