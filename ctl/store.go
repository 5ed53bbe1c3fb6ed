package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// pollEvery is the pause between two looks where nothing announces a change.
const pollEvery = 250 * time.Millisecond

// Keys is what the verbs need of a dcs.Store.
type Keys interface {
	Load(ctx context.Context) (cluster.View, error)
	PutConfig(ctx context.Context, raw json.RawMessage, ifModRevision int64) error
	PutFailover(ctx context.Context, f cluster.Failover, ifModRevision int64) error
	PutRequest(ctx context.Context, r cluster.Request) error
	WaitResult(ctx context.Context, id string) (cluster.Result, error)
	WaitFailover(ctx context.Context, id string, before cluster.View) (cluster.Result, error)
}

// Store reaches a cluster through its store.
type Store struct {
	keys    Keys
	options StoreOptions
}

// StoreOptions say what a Store is about and what it may use.
type StoreOptions struct {
	Scope string
	Clock Clock
	// Endpoints are named when the store does not answer.
	Endpoints []string
	// Scopes lists the clusters that exist, for the message when ours does
	// not; may be nil.
	Scopes func(context.Context) ([]string, error)
	// Troubles asks every member of the store how it does; may be nil.
	Troubles func(context.Context) []cluster.StoreTrouble
}

// NewStore makes a Cluster of the keys of one scope.
func NewStore(keys Keys, options StoreOptions) *Store { return &Store{keys: keys, options: options} }

// Scopes lists the clusters under a namespace: every first path element that
// has one of the keys a cluster cannot be without.
func Scopes(ctx context.Context, kv dcs.KV, namespace string) ([]string, error) {
	base := "/" + strings.Trim(namespace, "/") + "/"
	if base == "//" {
		base = "/"
	}
	bounded, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	snapshot, err := kv.Range(bounded, base)
	if err != nil {
		return nil, fmt.Errorf("list the clusters under %s: %w", base, err)
	}
	var scopes []string
	for _, pair := range snapshot.Pairs {
		scope, rest, found := strings.Cut(strings.TrimPrefix(pair.Key, base), "/")
		known := rest == "initialize" || rest == "config" || rest == "leader" || strings.HasPrefix(rest, "members/")
		if found && known && (len(scopes) == 0 || scopes[len(scopes)-1] != scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes, nil
}

// storeTimeout bounds one read of the store: an operator waits no longer for an
// etcd that does not answer.
const storeTimeout = 5 * time.Second

// Load reads the view, and is ErrNoCluster when there is nothing.
func (s *Store) Load(ctx context.Context) (cluster.View, error) {
	bounded, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	v, err := s.keys.Load(bounded)
	if err != nil {
		return v, s.trouble(ctx, "read cluster "+s.options.Scope, err)
	}
	if v.Initialize == nil && v.Leader == nil && v.Config == nil && len(v.Members) == 0 {
		return v, s.noCluster(ctx)
	}
	return v, nil
}

// trouble says what to do about the store's refusals and silences.
func (s *Store) trouble(ctx context.Context, doing string, err error) error {
	if ctx.Err() == nil {
		err = Trouble(s.options.Endpoints, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Trouble turns what a store answers into what an operator can act on. The
// sentinels stay recognisable.
func Trouble(endpoints []string, err error) error {
	switch {
	case errors.Is(err, dcs.ErrDenied):
		return fmt.Errorf("etcd at %s refused the user or password (%w): check etcd3.username and etcd3.password, or -d etcd3://user:password@host:port", list(endpoints), dcs.ErrDenied)
	case errors.Is(err, dcs.ErrUnavailable), errors.Is(err, dcs.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("etcd at %s does not answer (%w): is it running, and is the address right? choose another with -d, or an agent with --api", list(endpoints), err)
	}
	return err
}

func (s *Store) noCluster(ctx context.Context) error {
	var found []string
	if s.options.Scopes != nil {
		found, _ = s.options.Scopes(ctx) // the list only helps the message
	}
	if len(found) == 0 {
		return fmt.Errorf("%w: %s; the store holds no cluster in this namespace: check -d and the namespace, or start an agent", ErrNoCluster, s.options.Scope)
	}
	return fmt.Errorf("%w: %s; there is %s", ErrNoCluster, s.options.Scope, list(found))
}

// settingsOf reads the dynamic configuration, and says in words what is wrong with it.
func settingsOf(v cluster.View) (settings cluster.Settings, wrong string) {
	if v.Config == nil || len(v.Config.Raw) == 0 {
		return cluster.DefaultSettings(), ""
	}
	return readSettings(v.Config.Raw)
}

func readSettings(raw json.RawMessage) (settings cluster.Settings, wrong string) {
	settings, problems := config.Dynamic(raw)
	var all []string
	for _, p := range problems.Errors() {
		all = append(all, p.Key+" "+p.Rule)
	}
	return settings, strings.Join(all, "; ")
}

// Overview looks at the store, linearizably.
func (s *Store) Overview(ctx context.Context) (Overview, error) {
	v, err := s.Load(ctx)
	if err != nil {
		return Overview{}, err
	}
	settings, wrong := settingsOf(v)
	o := FromView(s.options.Scope, v, settings)
	o.Config = wrong
	return o, nil
}

// Troubles is what is wrong with the store itself, as far as one look shows. It is for
// who looks at a cluster, and not for each poll of a verb that waits.
func (s *Store) Troubles(ctx context.Context) []cluster.StoreTrouble {
	if s.options.Troubles == nil || ctx.Err() != nil {
		return nil
	}
	return s.options.Troubles(ctx)
}

// History reads the key history.
func (s *Store) History(ctx context.Context) (cluster.History, error) {
	v, err := s.Load(ctx)
	return v.History, err
}

// Config reads the key config.
func (s *Store) Config(ctx context.Context) (Config, error) {
	v, err := s.Load(ctx)
	if err != nil {
		return Config{}, err
	}
	if v.Config == nil {
		return Config{Raw: json.RawMessage("{}")}, nil
	}
	return Config{Raw: v.Config.Raw, Revision: v.Config.ModRevision}, nil
}

// SetConfig writes the key config if it is still at from's revision.
func (s *Store) SetConfig(ctx context.Context, from Config, to json.RawMessage) error {
	err := s.keys.PutConfig(ctx, to, from.Revision)
	if errors.Is(err, dcs.ErrCompared) {
		return ErrChanged
	}
	if err != nil {
		return s.trouble(ctx, "write the configuration of "+s.options.Scope, err)
	}
	return nil
}

// Failover writes the key failover and waits for what became of it.
func (s *Store) Failover(ctx context.Context, wish cluster.Failover) (cluster.Result, error) {
	v, err := s.Load(ctx)
	if err != nil {
		return cluster.Result{}, err
	}
	if !v.Failover.Empty() {
		return cluster.Result{}, fmt.Errorf("%w: a switchover from %s to %s is already asked for%s: withdraw it with pgkeeper flush switchover", ErrRefused,
			cmp.Or(v.Failover.Leader, "nobody"), cmp.Or(v.Failover.Member, "the best candidate"), at(v.Failover.ScheduledAt))
	}
	err = s.keys.PutFailover(ctx, wish, v.FailoverRev)
	if errors.Is(err, dcs.ErrCompared) {
		return cluster.Result{}, fmt.Errorf("%w: somebody else asked for a switchover at the same moment", ErrRefused)
	}
	if err != nil {
		return cluster.Result{}, s.trouble(ctx, "ask for the switchover", err)
	}
	if wish.ScheduledAt != "" { // accepted by being recorded, as Patroni does
		return cluster.Result{ID: wish.ID, Accepted: true, Message: "Switchover scheduled"}, nil
	}
	r, err := s.keys.WaitFailover(ctx, wish.ID, v)
	return r, unanswered(ctx, err, wish.ID)
}

func at(when string) string {
	if when == "" {
		return ""
	}
	return " for " + when
}

func (s *Store) result(ctx context.Context, id string) (cluster.Result, error) {
	r, err := s.keys.WaitResult(ctx, id)
	return r, unanswered(ctx, err, id)
}

// unanswered says what an operator knows of a request that nobody answered.
func unanswered(ctx context.Context, err error, id string) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: request %s was recorded and may still be carried out within ten minutes: look with pgkeeper list", ErrNoAnswer, id)
	}
	return fmt.Errorf("wait for the result of request %s: %w", id, err)
}

// CancelFailover empties the key failover.
func (s *Store) CancelFailover(ctx context.Context) error {
	v, err := s.Load(ctx)
	if err != nil {
		return err
	}
	if v.Failover.Empty() {
		return fmt.Errorf("%w: no switchover is scheduled", ErrRefused)
	}
	err = s.keys.PutFailover(ctx, cluster.Failover{}, v.FailoverRev)
	if errors.Is(err, dcs.ErrCompared) {
		return fmt.Errorf("%w: the switchover began or was withdrawn at this moment: look with pgkeeper list", ErrRefused)
	}
	return err
}

// Submit writes the request key and waits for the result key.
func (s *Store) Submit(ctx context.Context, request cluster.Request) (cluster.Result, error) {
	v, err := s.Load(ctx)
	if err != nil {
		return cluster.Result{}, err
	}
	m, ok := v.Members[request.Member]
	if !ok {
		return cluster.Result{}, fmt.Errorf("%w: no member %s in cluster %s", ErrRefused, request.Member, s.options.Scope)
	}
	if !m.IsKeeper() {
		return cluster.Result{}, fmt.Errorf("%w: %s is run by Patroni, which takes requests by HTTP only: use --api %s", ErrRefused, m.Name, strings.TrimSuffix(m.APIURL, "/patroni"))
	}
	if err := s.keys.PutRequest(ctx, request); err != nil {
		return cluster.Result{}, s.trouble(ctx, "record the request for "+request.Member, err)
	}
	return s.result(ctx, request.ID)
}
