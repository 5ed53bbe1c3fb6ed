package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/deploy"
	"github.com/pgkeeper/pgkeeper/routing/render"
)

// rendering are the flags of render.
type rendering struct {
	params   render.Params
	replicas int
	members  []string
	etcd     []string
	live     bool
	tls      bool
	proxy    string
	dir      string
	file     string
}

// renderKinds are routing/render's and HAProxy, whose template package deploy has.
func renderKinds() []render.Kind {
	kinds := append(render.Kinds(), render.Kind{Name: "haproxy", Short: "HAProxy: writes on 5000, reads on 5001, by the agents' own checks", Main: "haproxy.cfg"})
	slices.SortFunc(kinds, func(a, b render.Kind) int { return strings.Compare(a.Name, b.Name) })
	return kinds
}

func (a *app) render() *cobra.Command {
	r := &rendering{params: render.DefaultParams()}
	var long strings.Builder
	long.WriteString("Write the configuration of what stands around a cluster: always the same for the same flags, and accepted by the\nprogram it is for.\n\n")
	for _, k := range renderKinds() {
		fmt.Fprintf(&long, "  %-11s %s\n", k.Name, k.Short)
	}
	long.WriteString("\nThe main file goes to standard output; with --dir all files are written. Addresses are the documentation's (192.0.2.x)\n" +
		"unless --member names yours or --live asks the running cluster.")
	return a.command(verb{
		use: "render KIND", group: groupNode, args: cobra.ExactArgs(1), long: long.String(),
		short:   "write the configuration of a pooler, of monitoring, or of a way to run the cluster",
		example: "  pgkeeper render compose --replicas 4 --dir compose\n  pgkeeper -c pgkeeper.yml render haproxy --live --dir /etc/haproxy\n  pgkeeper render pgdog --member pg1=10.0.0.1 --member pg2=10.0.0.2:5433",
		flags:   r.flags,
		run:     func(cmd *cobra.Command, args []string) error { return a.runRender(cmd.Context(), r, args[0]) },
	})
}

func (r *rendering) flags(f flagSet) {
	p := &r.params
	f.IntVar(&r.replicas, "replicas", p.Replicas, "`NUMBER` of standbys; the cluster has one member more")
	f.StringArrayVarP(&r.members, "member", "m", nil, "a member as `NAME=HOST[:PORT[:RESTPORT]]`, again for each; instead of --replicas")
	f.BoolVar(&r.live, "live", false, "take the members from the running cluster; instead of --replicas")
	f.BoolVar(&r.tls, "agents-tls", false, "the agents have certificates (restapi.certfile), so checks go by TLS; --live knows by itself")
	f.StringArrayVarP(&r.etcd, "etcd", "e", nil, "a member of etcd as `HOST:PORT`, again for each")
	f.StringVar(&r.proxy, "proxy", "", "`HOST[:RW[:RO]]` of HAProxy, where poolers go, and the ports it listens on (default 127.0.0.1:5000:5001)")
	f.StringVar(&p.Database, "database", p.Database, "the application's `DATABASE`")
	f.StringVar(&p.User, "user", p.User, "the `ROLE` it logs in as")
	f.IntVar(&p.MaxConnections, "max-connections", p.MaxConnections, "PostgreSQL's max_connections")
	f.StringVar(&p.Image, "image", p.Image, "container `IMAGE` of a member")
	f.StringVar(&r.dir, "dir", "", "write all files into `FOLDER`, over what is there")
	f.StringVar(&r.file, "file", "", "show the file of this `NAME` instead of the main one")
}

func (a *app) runRender(ctx context.Context, r *rendering, kind string) error {
	if !slices.ContainsFunc(renderKinds(), func(k render.Kind) bool { return k.Name == kind }) {
		return usagef("render %s: choose from %s", kind, strings.Join(kindNames(), ", "))
	}
	if r.dir != "" && r.file != "" {
		return usagef("--dir writes all files, --file shows one: give one of them")
	}
	if err := a.fillParams(ctx, r); err != nil {
		return err
	}
	files, err := renderFiles(kind, r.params)
	if err != nil {
		return err
	}
	if r.dir != "" {
		return a.writeFiles(r.dir, files)
	}
	return a.showFile(files, r.file)
}

func kindNames() []string {
	var names []string
	for _, k := range renderKinds() {
		names = append(names, k.Name)
	}
	return names
}

func renderFiles(kind string, p render.Params) ([]render.File, error) {
	if kind != "haproxy" {
		return render.Render(kind, p)
	}
	params := deploy.DefaultHAProxyParams()
	params.Servers, params.ServerMaxConn = nil, 2*p.PoolSize()
	params.Primary, params.Replica = fmt.Sprintf("*:%d", p.ProxyRW), fmt.Sprintf("*:%d", p.ProxyRO)
	for _, m := range p.Members {
		params.Servers = append(params.Servers, deploy.Server{Name: m.Name, Addr: m.Host, Port: m.Port, CheckPort: m.RESTPort, CheckTLS: m.TLS})
	}
	config, state, err := deploy.HAProxyConfig(params)
	return []render.File{{Name: "haproxy.cfg", Text: config}, {Name: "haproxy.state", Text: state}, {Name: "hold.lua", Text: deploy.HAProxyHold}}, err
}

// fillParams takes members, etcd and HAProxy from the flags or from the running cluster.
func (a *app) fillParams(ctx context.Context, r *rendering) error {
	if r.live && len(r.members) > 0 {
		return usagef("--live and --member both say who the members are: give one of them")
	}
	if len(r.etcd) > 0 {
		r.params.Etcd = r.etcd
	}
	if a.options.scope != "" {
		r.params.Scope = a.options.scope
	}
	if err := r.fillProxy(); err != nil {
		return err
	}
	switch {
	case r.live:
		return a.liveMembers(ctx, r)
	case len(r.members) > 0:
		var members []render.Member
		for _, text := range r.members {
			m, err := parseMember(text)
			if err != nil {
				return usageError{err}
			}
			members = append(members, m)
		}
		r.params = r.params.WithMembers(members)
	case r.replicas < 0 || r.replicas > render.MaxReplicas:
		return usagef("--replicas %d: choose 0 to %d", r.replicas, render.MaxReplicas)
	default:
		r.params = r.params.WithReplicas(r.replicas)
	}
	for i := range r.params.Members {
		r.params.Members[i].TLS = r.tls
	}
	return nil
}

func (a *app) liveMembers(ctx context.Context, r *rendering) error {
	o, err := a.operator(ctx, "", ctl.FormatPretty)
	if err != nil {
		return err
	}
	places, err := o.Places(ctx)
	if err != nil {
		return err
	}
	var members []render.Member
	for _, p := range places.Members {
		members = append(members, render.Member(p))
	}
	for _, slot := range places.Left {
		fmt.Fprintf(a.err, "warning: the member of slot %s is left out: its agent is down and nobody else knows where it is reached, but the primary expects it back: "+
			"render again when it runs, or name all members with --member; if it will not come back: pgkeeper remove %s %s\n", slot, places.Scope, slot)
	}
	r.params = r.params.WithMembers(members)
	r.params.Scope = places.Scope
	return nil
}

func (r *rendering) fillProxy() error {
	if r.proxy == "" {
		return nil
	}
	host, ports, err := splitPorts(r.proxy, r.params.ProxyRW, r.params.ProxyRO)
	if err != nil {
		return usagef("--proxy %s: %w: want HOST[:RW[:RO]]", r.proxy, err)
	}
	r.params.Proxy, r.params.ProxyRW, r.params.ProxyRO = host, ports[0], ports[1]
	return nil
}

// parseMember reads NAME=HOST[:PORT[:RESTPORT]].
func parseMember(text string) (render.Member, error) {
	name, rest, found := strings.Cut(text, "=")
	if !found {
		return render.Member{}, fmt.Errorf("--member %s: want NAME=HOST[:PORT[:RESTPORT]]", text)
	}
	host, ports, err := splitPorts(rest, 5432, 8008)
	if err != nil {
		return render.Member{}, fmt.Errorf("--member %s: %w: want NAME=HOST[:PORT[:RESTPORT]]", text, err)
	}
	return render.Member{Name: name, Host: host, Port: ports[0], RESTPort: ports[1]}, nil
}

// splitPorts reads HOST[:A[:B]]; an IPv6 address stands in brackets.
func splitPorts(text string, first, second int) (host string, ports [2]int, err error) {
	ports = [2]int{first, second}
	rest := ""
	if inside, behind, bracket := strings.Cut(strings.TrimPrefix(text, "["), "]"); bracket && strings.HasPrefix(text, "[") {
		host, rest = inside, behind
	} else if i := strings.Index(text, ":"); i >= 0 {
		host, rest = text[:i], text[i:]
	} else {
		return text, ports, nil
	}
	if rest == "" {
		return host, ports, nil
	}
	given := strings.Split(strings.TrimPrefix(rest, ":"), ":")
	if len(given) > len(ports) || !strings.HasPrefix(rest, ":") {
		return "", ports, fmt.Errorf("%q is no list of ports (an IPv6 address stands in brackets)", rest)
	}
	for i, port := range given {
		if ports[i], err = strconv.Atoi(port); err != nil || ports[i] < 1 || ports[i] > 65535 {
			return "", ports, fmt.Errorf("port %q is no number from 1 to 65535 (an IPv6 address stands in brackets)", port)
		}
	}
	return host, ports, nil
}

func (a *app) writeFiles(dir string, files []render.File) error {
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.WriteFile(path, f.Text, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Fprintln(a.out, path)
	}
	return nil
}

func (a *app) showFile(files []render.File, name string) error {
	var others []string
	chosen := files[0]
	for _, f := range files {
		others = append(others, f.Name)
		if f.Name == name {
			chosen = f
		}
	}
	if name != "" && chosen.Name != name {
		return usagef("--file %s: there is %s", name, strings.Join(others, ", "))
	}
	if _, err := a.out.Write(chosen.Text); err != nil {
		return err
	}
	if name == "" && len(files) > 1 {
		fmt.Fprintf(a.err, "this is %s; --file shows another, --dir writes all: %s\n", chosen.Name, strings.Join(others, ", "))
	}
	return nil
}
