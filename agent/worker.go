package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/peer"
	"github.com/pgkeeper/pgkeeper/postgres"
	"github.com/pgkeeper/pgkeeper/recorder"
	"github.com/pgkeeper/pgkeeper/supervisor"
)

// ErrRefused: starting again changes nothing; an operator must.
var ErrRefused = errors.New("agent refused to run")

// Options is what a worker is started with.
type Options struct {
	Config *config.Config
	// Reload reads the configuration again, at SIGHUP.
	Reload  func() (*config.Config, error)
	Version string
	// OpenStore connects to etcd; observe is told every request.
	OpenStore func(c config.Etcd, observe func(op string, d time.Duration, err error)) (dcs.KV, error)
	// Surface makes what answers HTTP, from what there is to answer with.
	Surface func(c *config.Config, s Sources) (Surface, error)
	// Pooler makes the driver of the connection pooler beside this member; nil when the
	// configuration names none.
	Pooler func(c *config.Config) (Pooler, error)
	// PeerTransport carries calls to other agents; it verifies their certificates.
	PeerTransport func(c *config.Config) (http.RoundTripper, error)
	Log           *slog.Logger
}

// Sources are what a surface answers from.
type Sources struct {
	// Status returns the newest status without waiting; nil before the first.
	Status func() *cluster.Status
	// Changed has something to receive soon after each new status.
	Changed <-chan struct{}
	// Progress returns the newest quick look at the server's positions without waiting,
	// and has more of them made for a while; nil when there is none.
	Progress func() *cluster.Progress
	// Explain explains the newest decision without waiting; nil before the first.
	Explain  func() *cluster.Explanation
	Operator *Operator
	Metrics  http.Handler
	Peers    *Peers
	// Lost is WAL that this member had and the cluster has not, newest first.
	Lost func() []cluster.Lost
	// Failsafe brings a question of a holder without store to the loop, and waits for the
	// answer until ctx ends.
	Failsafe func(ctx context.Context, ask cluster.FailsafeAsk) cluster.FailsafeAnswer
}

// Surface is where others ask and order: the REST API.
type Surface interface {
	// Listen opens the port; an error is one of configuration.
	Listen(ctx context.Context) error
	// Serve answers until ctx ends.
	Serve(ctx context.Context) error
	// Reload takes over what of a new configuration can change live. On an error nothing
	// changes.
	Reload(c *config.Config) error
}

// worker is the parts of a running agent proper.
type worker struct {
	Options
	node    *Node
	driver  *Driver
	store   *dcs.Store
	kv      dcs.KV
	surface Surface
	peers   *Peers
	metrics *metrics
	// pooler is nil without one. stepped has a signal after a step for it, changed for the
	// surface.
	pooler           Pooler
	stepped, changed chan struct{}
	// probing is what the prober was told of last, reprobe tells it that there is news.
	probing probing
	reprobe chan struct{}
	// progress has quick looks at the server's positions, for whoever asks for lag.
	progress *progressWatch
	// reloaded is told of each new configuration.
	reloaded chan struct{}
	// readAgain has a signal while a read of the store is asked for that has yet to leave.
	readAgain chan struct{}
	cancel    context.CancelCauseFunc
}

// RunWorker is the body of the worker process. It returns nil when the agent is
// done (stopped, or replaced by another worker), ErrRefused when a restart is of
// no use.
func RunWorker(ctx context.Context, o Options) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	lock, err := supervisor.TakeWorkerLock(o.Config.Keeper.RuntimeDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	w := &worker{Options: o, reloaded: make(chan struct{}, 1), stepped: make(chan struct{}, 1), changed: make(chan struct{}, 1), reprobe: make(chan struct{}, 1), readAgain: make(chan struct{}, 1), metrics: newMetrics(o.Config.Scope, o.Config.Name), progress: newProgressWatch()}
	if err := w.build(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer w.node.pg.Close()
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	return w.run(ctx, signals)
}

// build makes the parts; nothing is started yet.
func (w *worker) build() error {
	c := w.Config
	if err := os.MkdirAll(c.Keeper.StateDir, 0o755); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	memory, err := loadMemory(c.Keeper.StateDir)
	if err != nil {
		return err
	}
	id, err := identity(c, w.Version)
	if err != nil {
		return err
	}
	pg, err := newServer(c, w.Log)
	if err != nil {
		return err
	}
	kv, err := w.OpenStore(c.Etcd, w.metrics.observeStore)
	if err != nil {
		return fmt.Errorf("prepare the connection to etcd: %w", err)
	}
	w.kv, w.store = kv, dcs.NewStore(kv, c.Namespace, c.Scope)
	loop := NewLoop(id, c.Tags, memory, c.Bootstrap.DCS, parseOver(c.Bootstrap.DCS), w.Log, clock.Now())
	w.node = NewNode(Parts{Store: w.store, Server: pg, Clock: realClock{}, Config: c, ReadStore: w.readStore, Reread: w.reload, Log: w.Log,
		Persist:  func(m Memory) error { return saveMemory(c.Keeper.StateDir, m) },
		ReadLost: func() ([]cluster.Lost, error) { return postgres.ReadLost(c.Keeper.StateDir) }})
	transport, err := w.PeerTransport(c)
	if err != nil {
		return err
	}
	w.peers = newPeers(c.Name, w.store, w.node, transport, w.Log)
	w.peers.keepIn(c.Keeper.StateDir, memory.Term)
	w.peers.login = func() peer.Login { return login(w.node.local.Load()) }
	asked := &questions{}
	w.node.peers, w.node.knocker, w.node.answer = w.peers, w.peers, asked.answer
	w.driver = NewDriver(loop, w.node, w.stepDone, w.Log)
	if w.pooler, err = w.Pooler(c); err != nil {
		return err
	}
	steps := recorder.New(recorder.Options{Dir: filepath.Join(c.Keeper.StateDir, recorder.Folder), Log: w.Log,
		Head: recorder.Head{Version: w.Version, Scope: c.Scope, Member: c.Name}})
	w.driver.RecordTo(steps)
	w.metrics.status = w.driver.Status
	explain := func() *cluster.Explanation { return steps.Explain(clock.Now()) }
	w.surface, err = w.Surface(c, Sources{Status: w.driver.Status, Changed: w.changed, Progress: w.progress.Newest, Explain: explain, Operator: &Operator{store: w.store}, Metrics: w.metrics.handler(), Peers: w.peers, Lost: w.node.Lost,
		Failsafe: func(ctx context.Context, ask cluster.FailsafeAsk) cluster.FailsafeAnswer {
			return asked.put(ctx, w.driver.Post, ask)
		}})
	return err
}

// login is what a member shows to Patroni's, as Patroni does: ctl.authentication, which
// is restapi.authentication where it is not set.
func login(c *config.Config) peer.Login {
	return peer.Login{Username: c.Ctl.Authentication.Username, Password: c.Ctl.Authentication.Password}
}

func identity(c *config.Config, version string) (Identity, error) {
	node, err := loadNode(c.Keeper.StateDir)
	if err != nil {
		return Identity{}, err
	}
	scheme := "http"
	if c.RESTAPI.CertFile != "" {
		scheme = "https"
	}
	id := Identity{Scope: c.Scope, Name: c.Name, Node: node, BootID: bootID(), Version: version,
		ConnURL: "postgres://" + c.PostgreSQL.ConnectAddress + "/" + c.PostgreSQL.Database,
		APIURL:  scheme + "://" + c.RESTAPI.ConnectAddress + "/patroni"}
	if c.PostgreSQL.ProxyAddress != "" {
		id.ProxyURL = "postgres://" + c.PostgreSQL.ProxyAddress + "/" + c.PostgreSQL.Database
	}
	return id, nil
}

// parseOver is config.DynamicOver as the loop wants it: what a bad value stands for is
// what the cluster began with, as far as this member's file says.
func parseOver(bootstrap json.RawMessage) ParseConfig {
	began, _ := config.Dynamic(bootstrap)
	return func(raw json.RawMessage) (cluster.Settings, string) {
		s, problems := config.DynamicOver(began, raw)
		return s, problems.Errors().String()
	}
}

// run starts the parts in the order others need them: REST first, so that the
// node answers "not ready" instead of refusing, then guard and store, then the
// loop. The loop's end ends the rest.
func (w *worker) run(ctx context.Context, signals <-chan os.Signal) error {
	if err := w.surface.Listen(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var parts sync.WaitGroup
	part := func(run func() error) {
		parts.Go(func() {
			if err := run(); err != nil {
				w.cancel(err)
			}
		})
	}
	defer parts.Wait()
	defer w.cancel(nil)
	part(func() error { return w.surface.Serve(ctx) })
	w.node.post = func(e Event) { w.driver.Post(ctx, e) }
	w.node.senders = newSenders(func() { w.node.post(SenderGone{}) }).watch
	link := newGuardLink(w.Config.Keeper.RuntimeDir, w.Config.PostgreSQL.DataDir, w.Version, w.node.post, w.ttl, w.Log)
	w.node.link = link
	w.metrics.gate.status = w.node.gateStatus
	if !w.goesOn(link) {
		if err := w.alone(ctx); err != nil {
			return err
		}
	}
	part(func() error { return link.run(ctx) })
	part(func() error { w.peers.keep(ctx); return nil })
	part(func() error { w.watch(ctx); return nil })
	probes := &prober{program: "/proc/self/exe", argv: []string{"pgkeeper", "probe", "--runtime-dir", w.Config.Keeper.RuntimeDir}, spec: w.probeSpec, changed: w.reprobe, post: w.node.post, log: w.Log}
	part(func() error { probes.run(ctx); return nil })
	if server, ok := w.node.pg.(certificates); ok {
		part(func() error { w.keepCertificates(ctx, server); return nil })
	}
	if store, ok := w.kv.(healthy); ok {
		part(func() error { w.keepStoreHealth(ctx, store); return nil })
	}
	if server, ok := w.node.pg.(commitWatch); ok {
		part(func() error { w.keepSyncCommit(ctx, server); return nil })
	}
	if server, ok := w.node.pg.(quickLook); ok {
		part(func() error { w.progress.run(ctx, server, w.driver.Status); return nil })
	}
	part(func() error { w.node.KeepWatchdog(ctx, w.ttl); return nil })
	if w.pooler != nil {
		part(func() error { w.drivePooler(ctx); return nil })
	}
	part(func() error { w.obey(ctx, signals); return nil })
	if err := supervisor.NotifyReady(); err != nil {
		w.Log.Warn("supervisor not told", "error", err.Error())
	}
	w.driver.Run(ctx)
	w.leave()
	switch cause := context.Cause(ctx); {
	case cause == nil, errors.Is(cause, context.Canceled):
		return nil
	case errors.Is(cause, guard.ErrSuperseded):
		w.Log.Info("another worker took over", "member", w.Config.Name)
		return nil
	default:
		return cause
	}
}

// ttl is T in force, or the shortest there can be before the loop knows it.
func (w *worker) ttl() time.Duration {
	if s := w.driver.Status(); s != nil {
		return s.Settings.TTL
	}
	return cluster.MinTTL
}

// goesOn: a worker before this one belonged to the cluster, and its server runs. There is
// no time to ask a store that may be away, and who else has the name was asked before.
func (w *worker) goesOn(link *guardLink) bool {
	pids, err := link.leftovers()
	return w.driver.loop.seen.ClusterID != 0 && err == nil && len(pids) > 0
}

// alone refuses a name that another running agent has: its member key shows
// another state directory, and stays although its lease could have run out.
func (w *worker) alone(ctx context.Context) error {
	node := w.driver.loop.id.Node
	patience := clock.Now().Add(w.driver.loop.config.settings.TTL + 2*time.Second)
	for ctx.Err() == nil {
		view, err := w.load(ctx)
		m, taken := view.Members[w.Config.Name]
		if err != nil || !taken || m.Keeper == nil || m.Keeper.Node == node || m.Keeper.Node == "" {
			return nil // an unreachable store is the loop's to wait for
		}
		if clock.Now() > patience {
			return fmt.Errorf("%w: another agent named %s runs at %s (its state directory is %s, ours %s): give this member another name", ErrRefused, w.Config.Name, m.APIURL, m.Keeper.Node, node)
		}
		clock.Sleep(ctx.Done(), 500*time.Millisecond)
	}
	return nil
}

// obey turns signals into what they ask for.
func (w *worker) obey(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				if err := w.reload(); err != nil {
					w.Log.Error("configuration not reloaded", "error", err.Error())
				}
				_ = supervisor.NotifyReady()
			case syscall.SIGUSR2: // an upgrade: go quietly, the next worker continues on the lease
				w.cancel(nil)
			default:
				w.node.post(StopWanted{})
			}
		}
	}
}

// reload reads the configuration again. A bad one changes nothing.
func (w *worker) reload() error {
	c, err := w.Reload()
	if err != nil {
		return fmt.Errorf("the old configuration stays in force: %w", err)
	}
	if err := w.surface.Reload(c); err != nil {
		return fmt.Errorf("the old configuration stays in force: %w", err)
	}
	w.node.local.Store(c)
	w.node.post(Reloaded{Tags: c.Tags})
	notify(w.reloaded)
	w.Log.Info("configuration reloaded", "member", c.Name)
	return nil
}

// leave tidies up behind a loop that is done: the member key goes at once, and a
// guard without a server has nothing left to guard.
func (w *worker) leave() {
	status := w.driver.Status()
	if status == nil || status.Settings.Pause || !w.driver.loop.decision.Done {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	if err := w.node.withSession(func(s *dcs.Session) error { return errors.Join(s.DeleteMember(ctx), s.Close(ctx)) }); err != nil {
		w.Log.Debug("member key not removed", "error", err.Error())
	}
	w.node.tellGuard("shutdown", func(g Guard) error { return g.Shutdown(ctx, false) })
}
