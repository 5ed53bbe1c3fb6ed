package ctl

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// answerLimit bounds what is read of one answer; a cluster of a thousand members
// stays far below.
const answerLimit = 8 << 20

// probeTimeout bounds one look at a member that may be gone.
const probeTimeout = 2 * time.Second

// API reaches a cluster through the REST API of one agent, and that agent's
// peers by the addresses it names. It needs no credentials of the store.
type API struct {
	base string
	http *http.Client
	// Username and Password are for methods that change something; empty when
	// the API asks for none.
	Username, Password string

	patience time.Duration // readTimeout, less in tests
}

// NewAPI makes a Cluster of the agent at base, such as http://10.0.0.1:8008.
// A user and password in the URL are used for Basic auth and never shown.
func NewAPI(base string, client *http.Client) (*API, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("this is no address of an agent: want http://host:port or https://host:port")
	}
	a := &API{http: client, patience: readTimeout}
	if u.User != nil {
		a.Username = u.User.Username()
		a.Password, _ = u.User.Password()
		u.User = nil
	}
	a.base = strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/patroni")
	return a, nil
}

// Base is the address of the agent that is asked, without credentials.
func (a *API) Base() string { return a.base }

// answer is a status code, a body, and what to do about a refusal.
type answer struct {
	code   int
	body   []byte
	detail string
}

// text is the body as one line for a message.
func (a answer) text() string {
	line := strings.Join(strings.Fields(string(a.body)), " ")
	if len(line) > 300 {
		line = line[:300] + "..."
	}
	if line == "" {
		line = http.StatusText(a.code)
	}
	return line
}

func (a *API) call(ctx context.Context, method, address string, body any) (answer, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{}, fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, address, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.Username != "" {
		request.SetBasicAuth(a.Username, a.Password)
	}
	response, err := a.http.Do(request)
	if err != nil {
		return answer{}, unreachable(ctx, address, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return answer{}, unreachable(ctx, address, err)
	}
	return answer{response.StatusCode, raw, response.Header.Get("Pgkeeper-Detail")}, denied(request, address, response.StatusCode, raw)
}

// unreachable turns the layers of an HTTP client's error into one sentence.
func unreachable(ctx context.Context, address string, err error) error {
	host := address
	if u, parseErr := url.Parse(address); parseErr == nil {
		host = u.Scheme + "://" + u.Host
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w from %s in time: %w", ErrNoAnswer, host, ctx.Err())
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if system, ok := errors.AsType[*os.SyscallError](err); ok {
		err = system.Err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("reach the agent at %s: %w: name the authority of its certificate in ctl.cacert (restapi.cafile serves too) of the file of -c, or skip the check with -k", host, err)
	}
	return fmt.Errorf("reach the agent at %s: %w: is it running, and is this its restapi.connect_address? choose another with --api, or the store with -d", host, err)
}

func denied(request *http.Request, address string, code int, body []byte) error {
	method := request.Method
	switch code {
	case http.StatusUnauthorized:
		if user, _, given := request.BasicAuth(); given {
			return fmt.Errorf("%w: %s %s: user %q or its password is wrong: give those of that agent's restapi.authentication, as --api http://user:password@host:port or in ctl.authentication in the file of -c", ErrRefused, method, address, user)
		}
		return fmt.Errorf("%w: %s %s wants a user and password: give them as --api http://user:password@host:port, or ctl.authentication in the file of -c", ErrRefused, method, address)
	case http.StatusForbidden:
		return fmt.Errorf("%w: %s %s: %s", ErrRefused, method, address, answer{code: code, body: body}.text())
	}
	return nil
}

// clusterAnswer is GET /cluster; what is under pgkeeper comes from agents of
// ours only.
type clusterAnswer struct {
	Scope     string         `json:"scope"`
	Pause     bool           `json:"pause"`
	Scheduled *Scheduled     `json:"scheduled_switchover"`
	Members   []memberAnswer `json:"members"`
	Keeper    struct {
		StoreError string   `json:"store_error"`
		Problems   []string `json:"problems"`
	} `json:"pgkeeper"`
}

type memberAnswer struct {
	Name       string                           `json:"name"`
	Role       MemberRole                       `json:"role"`
	State      string                           `json:"state"`
	APIURL     string                           `json:"api_url"`
	Host       string                           `json:"host"`
	Port       json.Number                      `json:"port"`
	Timeline   cluster.Timeline                 `json:"timeline"`
	Pending    bool                             `json:"pending_restart"`
	Reasons    map[string]cluster.PendingReason `json:"pending_restart_reason"`
	Restart    map[string]any                   `json:"scheduled_restart"`
	Tags       cluster.Tags                     `json:"tags"`
	LSN        any                              `json:"lsn"`
	Lag        any                              `json:"lag"`
	ReceiveLSN any                              `json:"receive_lsn"`
	ReceiveLag any                              `json:"receive_lag"`
	ReplayLSN  any                              `json:"replay_lsn"`
	ReplayLag  any                              `json:"replay_lag"`
	Keeper     *cluster.MemberKeeper            `json:"pgkeeper"`
}

// Status is what GET /patroni of one member says, as far as verbs need it.
type Status struct {
	ServerVersion    int    `json:"server_version"`
	SystemIdentifier string `json:"database_system_identifier"`
	Pause            bool   `json:"pause"`
	Patroni          struct {
		Version string `json:"version"`
		Name    string `json:"name"`
	} `json:"patroni"`
	Keeper struct {
		Version    string            `json:"version"`
		CommitGate cluster.GateState `json:"commit_gate"`
		// A full etcd takes no member key: these two may be newer than there.
		SyncCommit    *cluster.SyncCommit    `json:"sync_commit"`
		StoreTroubles []cluster.StoreTrouble `json:"etcd_troubles"`
		Failsafe      bool                   `json:"failsafe"`
		Watchdog      cluster.Watchdog       `json:"watchdog"`
		Pooler        cluster.PoolerState    `json:"pooler"`
	} `json:"pgkeeper"`
}

// Overview asks the agent for /cluster and every member for /patroni; members
// that do not answer are shown without what only they know.
func (a *API) Overview(ctx context.Context) (Overview, error) {
	got, err := a.cluster(ctx)
	if err != nil {
		return Overview{}, err
	}
	settings, wrong := cluster.DefaultSettings(), ""
	if c, err := a.Config(ctx); err == nil {
		settings, wrong = readSettings(c.Raw)
	}
	o := Overview{Scope: got.Scope, Config: wrong, Paused: got.Pause, Scheduled: got.Scheduled, TTL: settings.TTL, LoopWait: settings.LoopWait, Notes: got.Keeper.Problems}
	if got.Keeper.StoreError != "" {
		o.Notes = append(o.Notes, "the agent cannot reach its store, so this may be old: "+got.Keeper.StoreError)
	}
	for _, m := range got.Members {
		row := m.member()
		if row.Leads() {
			o.Leader = row.Name
		}
		o.Members = append(o.Members, row)
		o.hear(row.Name, m.Keeper)
	}
	slices.SortFunc(o.Members, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	o.Gate = gateWords(settings, a.fill(ctx, &o))
	o.Notes = append(o.Notes, o.leaderNote()...)
	if o.Leader == "" {
		o.NoLeader = a.noLeader(o)
	}
	return o, nil
}

func (a *API) cluster(ctx context.Context) (clusterAnswer, error) {
	var got clusterAnswer
	err := a.read(ctx, "/cluster", &got)
	return got, err
}

// readTimeout bounds one answer from an agent's memory: one that is frozen, or cut off, gives none.
const readTimeout = 5 * time.Second

func (a *API) read(ctx context.Context, path string, into any) error {
	bounded, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	got, err := a.call(bounded, http.MethodGet, a.base+path, nil)
	if errors.Is(err, ErrNoAnswer) && ctx.Err() == nil {
		return fmt.Errorf("%w: its agent hangs, or its machine is cut off: choose another with --api, or the store with -d", err)
	}
	if err != nil {
		return err
	}
	if got.code != http.StatusOK {
		return fmt.Errorf("GET %s%s: %d %s", a.base, path, got.code, got.text())
	}
	if err := json.Unmarshal(got.body, into); err != nil {
		return fmt.Errorf("read the answer of GET %s%s: %w: is this an agent's REST API?", a.base, path, err)
	}
	return nil
}

// fill asks all members at once for what /cluster does not carry, and returns what the
// leader says of its gate.
func (a *API) fill(ctx context.Context, o *Overview) (gate cluster.GateState) {
	statuses := Statuses(ctx, a, o.Members)
	for i := range o.Members {
		s, ok := statuses[o.Members[i].Name]
		if !ok {
			continue
		}
		o.Members[i].Paused = s.Pause
		o.Members[i].Watchdog, o.Members[i].Pooler = s.Keeper.Watchdog.State, s.Keeper.Pooler
		if s.Keeper.Failsafe {
			o.Notes = append(o.Notes, o.Members[i].Name+" goes on in failsafe, by the members' promises: etcd cannot be written, and nothing that needs it can be done")
		}
		if o.Members[i].Leads() {
			gate = s.Keeper.CommitGate
			if s.Keeper.SyncCommit != nil {
				o.SyncCommit = s.Keeper.SyncCommit
			}
		}
		o.StoreTroubles = cluster.MergeTroubles(o.StoreTroubles, s.Keeper.StoreTroubles)
		if s.SystemIdentifier != "" {
			o.SystemID = s.SystemIdentifier
		}
	}
	return gate
}

// Statuses asks every member for /patroni, all at once; who does not answer
// within two seconds is missing from the result.
func Statuses(ctx context.Context, a *API, members []Member) map[string]Status {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	found := map[string]Status{}
	for _, m := range members {
		if m.APIURL == "" {
			continue
		}
		wg.Go(func() {
			got, err := a.call(ctx, http.MethodGet, m.APIURL, nil)
			var s Status
			if err != nil || json.Unmarshal(got.body, &s) != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[m.Name] = s
		})
	}
	wg.Wait()
	return found
}

func (a *API) noLeader(o Overview) string {
	text := "nobody holds the lease"
	switch {
	case o.SystemID == "":
		text = "the cluster is not initialised yet"
	case o.Paused:
		text = pausedLeaderless
	}
	said := make([]string, 0, len(o.Members))
	for _, m := range o.Members {
		if m.Reason != "" {
			said = append(said, m.Name+": "+words(m.Reason))
		}
	}
	if len(said) > 0 {
		text += "; " + strings.Join(said, ", ")
	}
	return text
}

func (m memberAnswer) member() Member {
	row := Member{
		Name: m.Name, APIURL: m.APIURL, Role: m.Role, State: m.State, Timeline: m.Timeline,
		Tags: m.Tags, PendingRestart: m.Pending, PendingReason: m.Reasons, Keeper: m.Keeper != nil,
	}
	if m.Keeper != nil {
		row.Reason, row.Progress = m.Keeper.Reason, m.Keeper.Progress
	}
	if m.Host != "" {
		row.Host = net.JoinHostPort(m.Host, m.Port.String())
		row.ConnURL = "postgres://" + row.Host + "/postgres"
	}
	if at, ok := m.Restart["schedule"].(string); ok {
		row.ScheduledRestart = at
	}
	if row.Leads() {
		return row
	}
	row.ReceiveLSN, row.ReceiveLag = position(m.ReceiveLSN, m.ReceiveLag, m.LSN, m.Lag)
	row.ReplayLSN, row.ReplayLag = position(m.ReplayLSN, m.ReplayLag, m.LSN, m.Lag)
	return row.received()
}

// position reads a position and a lag, either of which may be "unknown"; a
// Patroni before 4.1 has lsn and lag only.
func position(lsn, lag, oldLSN, oldLag any) (cluster.LSN, *uint64) {
	if lsn == nil {
		lsn, lag = oldLSN, oldLag
	}
	var at cluster.LSN
	switch v := lsn.(type) {
	case string:
		at, _ = cluster.ParseLSN(v) // "unknown" is 0
	case float64:
		at = cluster.LSN(v)
	}
	if n, ok := lag.(float64); ok && n >= 0 {
		behind := uint64(n)
		return at, &behind
	}
	return at, nil
}
