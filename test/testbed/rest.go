package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// Status is what a test reads of GET /patroni.
type Status struct {
	State            string         `json:"state"`
	Role             string         `json:"role"`
	Timeline         int            `json:"timeline"`
	ReplicationState string         `json:"replication_state"`
	PendingRestart   bool           `json:"pending_restart"`
	Pause            bool           `json:"pause"`
	PostmasterStart  string         `json:"postmaster_start_time"`
	SystemID         string         `json:"database_system_identifier"`
	Tags             map[string]any `json:"tags"`
	Replication      []Sent         `json:"replication"`
	Keeper           struct {
		Version     string `json:"version"`
		Reason      string `json:"reason"`
		Detail      string `json:"detail"`
		Mode        string `json:"mode"`
		Term        int64  `json:"term"`
		Job         string `json:"job"`
		ConfigError string `json:"config_error"`
		StoreError  string `json:"store_error"`
		ServerError string `json:"server_error"`
		LeaseMs     int64  `json:"lease_ms_left"`
		CommitGate  string `json:"commit_gate"`
		// SyncCommit is what is known of commits that do not wait; nil for nothing.
		SyncCommit *struct {
			Weakened []any `json:"weakened"`
		} `json:"sync_commit"`
		Watchdog struct {
			State   string `json:"state"`
			Timeout int    `json:"timeout"`
		} `json:"watchdog"`
	} `json:"pgkeeper"`
}

// Sent is one of whom a server sends its WAL to.
type Sent struct {
	Name  string `json:"application_name"`
	State string `json:"state"`
}

// sends tells whether the server streams to that member.
func (s Status) sends(name string) bool {
	return slices.Contains(s.Replication, Sent{name, "streaming"})
}

// String is one line about a node, for the message of a wait.
func (s Status) String() string {
	return fmt.Sprintf("role=%s state=%s replication=%s timeline=%d reason=%s (%s)", s.Role, s.State, s.ReplicationState, s.Timeline, s.Keeper.Reason, s.Keeper.Detail)
}

// client answers within restLimit or not at all; its connections are not kept,
// since nodes come and go.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

const restLimit = 2 * time.Second

// URL is the address of a path of the node's REST API.
func (n *Node) URL(path string) string { return "http://" + n.APIAddress() + path }

// Do sends a request and returns the answer's code and body.
func (n *Node) Do(ctx context.Context, method, path, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, n.URL(path), bytes.NewBufferString(body))
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Health is the code of a GET, 0 when nobody answers in time.
func (n *Node) Health(ctx context.Context, path string) int {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	code, _, err := n.Do(ctx, http.MethodGet, path, "")
	if err != nil {
		return 0
	}
	return code
}

// Status is what the node says about itself.
func (n *Node) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	var s Status
	_, text, err := n.Do(ctx, http.MethodGet, "/patroni", "")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}
