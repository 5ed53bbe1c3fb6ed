package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/certs"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/ctl"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// defaultAPI is where a verb looks when nothing is configured: an agent on this
// machine.
const defaultAPI = "http://127.0.0.1:8008"

// source is how a verb reaches clusters: by the store or by one agent.
type source struct {
	config    *config.Config // nil without a file and variables
	api       *ctl.API       // nil through the store
	kv        dcs.KV
	endpoints []string
	namespace string
	// scope is the configured cluster; empty when only the argument tells.
	scope string
}

// source chooses the way: flag, then the first configuration file there is, then
// etcd as the environment says, then the agent on this machine.
func (a *app) source() (*source, error) {
	g := a.options
	if g.api != "" && g.dcs != "" {
		return nil, usagef("--api and -d say two different ways: give one")
	}
	s := &source{scope: g.scope}
	path := a.configPath()
	if path != "" || a.hasVariable("") {
		if err := a.readConfig(s, path); err != nil {
			return nil, err
		}
	}
	switch {
	case g.api != "":
		return s, a.useAPI(s, g.api)
	case g.dcs != "":
		etcd, namespace, err := parseDCS(g.dcs)
		if err != nil {
			return nil, usageError{err}
		}
		s.namespace = cmp.Or(namespace, s.namespace, "service")
		return s, a.useStore(s, etcd)
	case path != "", a.hasVariable("ETCD"): // a file that names no etcd means the one on this machine
		return s, a.useStore(s, s.config.Etcd)
	case s.config != nil:
		return s, a.useAPI(s, ownAPI(s.config.RESTAPI))
	}
	return s, a.useAPI(s, defaultAPI)
}

// hasVariable reports whether the environment configures anything under that name, as
// it does in a container.
func (a *app) hasVariable(name string) bool {
	return slices.ContainsFunc(a.env, func(entry string) bool {
		return strings.HasPrefix(entry, "PGKEEPER_"+name) || strings.HasPrefix(entry, "PATRONI_"+name)
	})
}

// configPath is the file to read: the flag's, else the first that exists.
func (a *app) configPath() string {
	for _, path := range []string{a.options.config, a.getenv("PGKEEPER_CONFIG"), a.getenv("PATRONICTL_CONFIG_FILE")} {
		if path != "" {
			return path
		}
	}
	if a.options.dcs != "" || a.options.api != "" {
		return "" // the flags say it all: no file is guessed beside them
	}
	home := cmp.Or(a.getenv("XDG_CONFIG_HOME"), filepath.Join(a.getenv("HOME"), ".config"))
	for _, path := range []string{
		filepath.Join(home, "pgkeeper", "pgkeeper.yml"), filepath.Join(home, "patroni", "patronictl.yaml"),
		"/etc/pgkeeper/pgkeeper.yml",
	} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// readConfig takes what a verb needs from a member's file. A patronictl.yaml
// lacks what an agent needs, so only problems in these sections count.
func (a *app) readConfig(s *source, path string) error {
	c, problems, err := config.Load(path, a.env)
	if err != nil {
		return fmt.Errorf("read the configuration %s: %w", path, err)
	}
	for _, p := range problems.Errors() {
		section, _, _ := strings.Cut(p.Key, ".")
		switch section {
		case "", "etcd", "etcd3", "ctl", "namespace":
			return fmt.Errorf("configuration: %s", p)
		}
	}
	if c == nil {
		return fmt.Errorf("read the configuration %s: it holds nothing to use; check it with pgkeeper validate %s", path, path)
	}
	s.config, s.namespace = c, c.Namespace
	s.scope = cmp.Or(s.scope, c.Scope)
	return nil
}

// parseDCS reads -d: etcd3://[user:password@]host:port[,host:port][/namespace].
func parseDCS(text string) (config.Etcd, string, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "etcd3", text
	}
	etcd := config.Etcd{Protocol: "http"}
	switch scheme {
	case "etcd3", "etcd", "http":
	case "etcd3s", "etcds", "https":
		etcd.Protocol = "https"
	default:
		return etcd, "", fmt.Errorf("-d: %q is no store pgkeeper knows: want etcd3://host:port", scheme)
	}
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		var err error
		if etcd.Username, err = url.PathUnescape(user); err == nil {
			etcd.Password, err = url.PathUnescape(password)
		}
		if err != nil {
			return etcd, "", fmt.Errorf("-d: the user or password holds a %% that is no escape: write it as %%25")
		}
		authority = authority[at+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		if host = strings.TrimSpace(host); host == "" {
			return etcd, "", fmt.Errorf("-d %s://...: a host is missing: want etcd3://host:port[,host:port][/namespace]", scheme)
		}
		if !strings.Contains(strings.TrimLeft(host, "["), ":") || strings.HasSuffix(host, "]") {
			host += ":2379"
		}
		etcd.Hosts = append(etcd.Hosts, host)
	}
	return etcd, strings.Trim(path, "/"), nil
}

func (a *app) useStore(s *source, etcd config.Etcd) error {
	kv, err := a.openKV(etcd)
	if err != nil {
		return fmt.Errorf("connect to etcd at %s: %w", strings.Join(etcd.Hosts, ", "), ctl.Trouble(etcd.Hosts, err))
	}
	a.closers = append(a.closers, func() { _ = kv.Close() })
	s.kv, s.endpoints = kv, etcd.Hosts
	return nil
}

func (a *app) useAPI(s *source, base string) error {
	client, err := a.client(s.config)
	if err != nil {
		return err
	}
	api, err := ctl.NewAPI(base, client)
	if err != nil {
		return usageError{err}
	}
	s.credentials(api)
	s.api = api
	return nil
}

// credentials fills in what the file says for agents' APIs.
func (s *source) credentials(api *ctl.API) {
	if s.config == nil || api.Username != "" {
		return
	}
	api.Username, api.Password = s.config.Ctl.Authentication.Username, s.config.Ctl.Authentication.Password
	if api.Username == "" {
		api.Username, api.Password = s.config.RESTAPI.Authentication.Username, s.config.RESTAPI.Authentication.Password
	}
}

// client speaks to REST APIs with the file's certificates.
func (a *app) client(c *config.Config) (*http.Client, error) {
	settings := &tls.Config{InsecureSkipVerify: a.options.insecure} //nolint:gosec // asked for with -k
	if c != nil {
		settings.InsecureSkipVerify = settings.InsecureSkipVerify || c.Ctl.Insecure
		if c.Ctl.CACert != "" {
			pem, err := os.ReadFile(c.Ctl.CACert)
			if err != nil {
				return nil, fmt.Errorf("read ctl.cacert: %w", err)
			}
			settings.RootCAs = x509.NewCertPool()
			if !settings.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ctl.cacert %s holds no certificate in PEM form", c.Ctl.CACert)
			}
		}
		if c.Ctl.CertFile != "" {
			pair, err := certs.Pair(c.Ctl.CertFile, c.Ctl.KeyFile, cmp.Or(c.Ctl.KeyFilePassword, c.RESTAPI.KeyFilePassword))
			if err != nil {
				return nil, fmt.Errorf("read ctl.certfile and ctl.keyfile: %w", err)
			}
			settings.Certificates = []tls.Certificate{pair}
		}
	}
	return httpClient(&http.Transport{TLSClientConfig: settings, Proxy: nil}), nil
}

// cluster gives the cluster of that name; empty means the configured one, or the
// only one there is.
func (s *source) cluster(ctx context.Context, name string) (ctl.Cluster, error) {
	if s.api != nil {
		return s.apiCluster(ctx, name)
	}
	name, err := s.named(ctx, name)
	if err != nil {
		return nil, err
	}
	keys := dcs.NewStore(s.kv, s.namespace, name)
	return ctl.NewStore(keys, ctl.StoreOptions{Scope: name, Clock: wallClock{}, Endpoints: s.endpoints, Scopes: s.scopes, Troubles: s.troubles}), nil
}

// named is the cluster of that name; empty means the configured one, or the only one in the
// store.
func (s *source) named(ctx context.Context, name string) (string, error) {
	if name = cmp.Or(name, s.scope); name != "" {
		return name, nil
	}
	scopes, err := s.scopes(ctx)
	if err != nil {
		return "", err
	}
	switch len(scopes) {
	case 0:
		return "", fmt.Errorf("%w under /%s: check -d and the namespace, or start an agent", ctl.ErrNoCluster, s.namespace)
	case 1:
		return scopes[0], nil
	}
	return "", usagef("%w: there is %s", errNoName, strings.Join(scopes, ", "))
}

// troublesLimit is how long a list waits for a member of etcd that does not answer.
const troublesLimit = time.Second

// troubles asks every member of etcd how it does.
func (s *source) troubles(ctx context.Context) []cluster.StoreTrouble {
	store, ok := s.kv.(interface {
		Health(ctx context.Context, all bool) cluster.StoreHealth
	})
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, troublesLimit)
	defer cancel()
	return store.Health(ctx, true).Troubles
}

func (s *source) scopes(ctx context.Context) ([]string, error) {
	scopes, err := ctl.Scopes(ctx, s.kv, s.namespace)
	if err != nil {
		return nil, ctl.Trouble(s.endpoints, err)
	}
	return scopes, nil
}

// apiCluster refuses to act on another cluster than the one that was named.
func (s *source) apiCluster(ctx context.Context, name string) (ctl.Cluster, error) {
	if name == "" {
		return s.api, nil
	}
	scope, err := s.api.Scope(ctx)
	if err != nil {
		return nil, err
	}
	if scope != name {
		return nil, fmt.Errorf("%w: %s; the agent asked belongs to cluster %s", ctl.ErrNoCluster, name, scope)
	}
	return s.api, nil
}
