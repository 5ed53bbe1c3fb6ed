package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/demo/freeport"
	"github.com/pgkeeper/pgkeeper/deploy"
)

// ttlSeconds is the nodes' lease time: the least that does not fence a primary
// during an etcd election on a busy machine.
const ttlSeconds = 5

// Options say how the tour goes.
type Options struct {
	// Replicas is how many standbys there are at first; 1 at least.
	Replicas int
	// Dir is where everything is kept; empty makes a temporary folder.
	Dir string
	// NoTour brings the cluster up and does nothing to it.
	NoTour bool
	// Keep leaves the files behind.
	Keep bool
	// Exit ends the demo after the tour.
	Exit bool
	// Program is the pgkeeper binary that the nodes run.
	Program string
	Out     io.Writer
	// Terminal tells that Out is one, Style how tables are drawn on it.
	Terminal bool
	Style    ctl.Style
	// Env is the environment of the nodes; settings of agents are taken out.
	Env []string
	// Clock is for the operator's verbs.
	Clock ctl.Clock
}

// stage is a running demo.
type stage struct {
	Options
	*narrator
	place    *place
	password string
	// client is for looks, which must be quick; patient for requests that wait
	// for their result.
	client, patient *http.Client

	etcd  *embedded.Member
	nodes []*node
	// spare are the ports of the node that joins later.
	spare [2]int
	proxy *proxy
	// pipe is held open by the demo and read by every node: when it ends, so do
	// they. life is its read end.
	pipe, life *os.File

	writer *writer
	// stopWriter ends the writer and waits for it.
	stopWriter func()
}

// Run gives the demo and cleans up behind it. It returns nil when every step
// went well and, unless Exit is set, somebody ended it with ctx.
func Run(ctx context.Context, o Options) (err error) {
	if o.Replicas < 1 || o.Replicas > 8 {
		return fmt.Errorf("--replicas %d: the demo runs 1 to 8", o.Replicas)
	}
	s := &stage{
		Options: o, narrator: &narrator{out: o.Out, terminal: o.Terminal}, password: newPassword(),
		client: &http.Client{Timeout: 2 * time.Second}, patient: &http.Client{},
	}
	if s.place, err = newPlace(o.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	fmt.Fprintf(o.Out, "pgkeeper demo: etcd, a primary and %s on this machine, in %s\n", plural(o.Replicas, "standby", "standbys"), s.place.dir)
	if err := s.play(ctx); err != nil {
		return err
	}
	if o.Exit {
		return nil
	}
	s.live(ctx)
	return nil
}

// play goes through the steps; a failure is explained before it is returned.
func (s *stage) play(ctx context.Context) error {
	steps := s.steps()
	for i, step := range steps {
		s.step(i+1, len(steps), step.title)
		if err := step.do(ctx); err != nil {
			s.clear()
			if ctx.Err() != nil {
				return errors.New("interrupted; everything was stopped")
			}
			s.explain(context.WithoutCancel(ctx))
			return fmt.Errorf("step %d, %s: %w", i+1, strings.ToLower(step.title[:1])+step.title[1:], err)
		}
	}
	return nil
}

// explain shows what there is to see after a failure: the list, and the last
// lines of every log.
func (s *stage) explain(ctx context.Context) {
	if overview, err := s.overview(ctx); err == nil {
		s.block(ctl.List(overview, false).Pretty(s.Style))
	}
	for _, n := range s.nodes {
		if lines := n.lastWords(15, 5); len(lines) > 0 {
			s.say("last lines of %s:", n.agentLog())
			s.block(strings.Join(lines, "\n"))
		}
	}
	if s.proxy != nil {
		if why := s.proxy.broken(); why != "" {
			s.say("%s", why)
		}
	}
}

// close stops everything and removes the files.
func (s *stage) close() error {
	s.clear()
	if s.stopWriter != nil {
		s.stopWriter()
	}
	if s.proxy != nil {
		s.proxy.close()
	}
	left := s.stopNodes()
	if s.etcd != nil {
		s.etcd.Close()
	}
	s.client.CloseIdleConnections()
	s.patient.CloseIdleConnections()
	var err error
	if left > 0 {
		err = fmt.Errorf("%d processes could not be ended; look with: pgrep -f %s", left, s.place.dir)
	}
	if s.Keep {
		fmt.Fprintf(s.out, "The files are kept in %s\n", s.place.dir)
		return err
	}
	if removed := s.place.remove(); removed != nil {
		err = errors.Join(err, fmt.Errorf("remove the files of the demo: %w", removed))
	}
	return err
}

// stopNodes lets go of the pipe, gives servers a moment to end by themselves,
// and kills what is left. It returns how many processes even that left.
func (s *stage) stopNodes() int {
	if s.pipe != nil {
		s.pipe.Close()
		s.life.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, n := range s.nodes {
		for len(ProcessesOf(n.dir)) > 0 && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	left := 0
	for _, n := range s.nodes {
		n.kill()
		left += len(ProcessesOf(n.dir))
		if n.exited != nil {
			<-n.exited
		}
	}
	return left
}

// environment is ours without what would configure an agent or a PostgreSQL
// client behind the demo's back.
func (s *stage) environment() []string {
	var env []string
	for _, entry := range s.Env {
		switch {
		case strings.HasPrefix(entry, "PGKEEPER_"), strings.HasPrefix(entry, "PATRONI_"), strings.HasPrefix(entry, "NOTIFY_SOCKET="):
		case strings.HasPrefix(entry, "PG") && !strings.HasPrefix(entry, "PGKEEPER"):
		default:
			env = append(env, entry)
		}
	}
	return env
}

func (s *stage) etcdAddress() string {
	return strings.TrimPrefix(s.etcd.ClientURL(), "http://")
}

// prepare starts etcd and makes every node's folder; nothing of PostgreSQL runs.
func (s *stage) prepare(ctx context.Context) (err error) {
	if s.etcd, err = embedded.New(embedded.Options{Dir: filepath.Join(s.place.dir, "etcd"), LogFile: filepath.Join(s.place.dir, "etcd.log")}); err != nil {
		return err
	}
	if err := s.etcd.Start(ctx); err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	if s.life, s.pipe, err = os.Pipe(); err != nil {
		return fmt.Errorf("make the pipe the nodes hang on: %w", err)
	}
	count := s.Replicas + 1
	ports, err := freeport.Find(2*count + 5)
	if err != nil {
		return err
	}
	for i := range count {
		n, err := s.newNode(i+1, ports[2*i], ports[2*i+1])
		if err != nil {
			return err
		}
		s.nodes = append(s.nodes, n)
	}
	s.spare = [2]int{ports[2*count], ports[2*count+1]}
	reserve := deploy.Server{Name: fmt.Sprintf("pg%d", count+1), Addr: "127.0.0.1", Port: s.spare[0], CheckPort: s.spare[1]}
	if err = s.startProxy(s.frontPorts(ports[2*count+2:]), reserve); errors.Is(err, errNoProxy) {
		return nil
	}
	return err
}

// frontPorts are the usual ports of HAProxy where they are free, for somebody who stays;
// a demo that ends by itself may run beside others and takes the given ones.
func (s *stage) frontPorts(otherwise []int) []int {
	if s.Exit {
		return otherwise
	}
	ports := []int{5000, 5001, 7000}
	for i, port := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // binds only
		if err != nil {
			ports[i] = otherwise[i]
			continue
		}
		_ = l.Close()
	}
	return ports
}

// dsn connects to any of the nodes; the client itself finds the one it wants.
func (s *stage) dsn(want string) string {
	hosts := make([]string, 0, len(s.nodes))
	for _, n := range s.nodes {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", n.sqlPort))
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", s.password), Host: strings.Join(hosts, ","),
		Path: "/postgres", RawQuery: "target_session_attrs=" + want,
	}
	return u.String()
}

// api finds an agent that answers.
func (s *stage) api(ctx context.Context, client *http.Client) (*ctl.API, error) {
	for _, n := range s.nodes {
		if n.running() && n.answers(ctx, s.client, "/liveness") != 0 {
			return ctl.NewAPI(n.api(), client)
		}
	}
	return nil, errors.New("no agent answers")
}

// overview is the cluster as any agent sees it.
func (s *stage) overview(ctx context.Context) (ctl.Overview, error) {
	api, err := s.api(ctx, s.client)
	if err != nil {
		return ctl.Overview{}, err
	}
	return api.Overview(ctx)
}

// operator runs verbs of the command line through the API.
func (s *stage) operator(ctx context.Context, out io.Writer) (*ctl.Operator, error) {
	api, err := s.api(ctx, s.patient)
	if err != nil {
		return nil, err
	}
	console := &ctl.Console{In: strings.NewReader(""), Out: out, Err: out, Force: true, Format: ctl.FormatPretty, Style: s.Style}
	return &ctl.Operator{Cluster: api, Console: console, Clock: s.Clock}, nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
