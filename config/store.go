package config

import (
	"net/url"
	"slices"
	"strings"
)

// checkStore boils host, hosts, url and proxy down to Hosts.
func (l *loader) checkStore() {
	section := "etcd3"
	old, now := l.root.get("etcd"), l.root.get("etcd3")
	switch {
	case old != nil && now != nil:
		l.add(Warning, old.pos, "etcd", "", "stands beside etcd3, which is read over it", "keep one of the two")
	case old != nil:
		section = "etcd"
		l.add(Warning, old.pos, "etcd", "", "is read as etcd3: pgkeeper talks to etcd by its v3 API", "rename the section to etcd3")
	}
	var hosts []string
	if l.store.host != "" {
		hosts = l.storeHost(hosts, section+".host", l.store.host)
	}
	for _, h := range l.store.hosts {
		hosts = l.storeHost(hosts, section+".hosts", h)
	}
	if l.store.url != "" {
		hosts = l.storeHost(hosts, section+".url", l.store.url)
	}
	if l.store.proxy != "" {
		hosts = l.storeHost(hosts, section+".proxy", l.store.proxy)
		l.Etcd.UseProxies = true
	}
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1:2379"}
	}
	slices.Sort(hosts)
	l.Etcd.Hosts = slices.Compact(hosts)
	l.checkPair(section, Credentials{l.Etcd.Username, l.Etcd.Password})
	l.checkStoreTLS(section)
}

func (l *loader) checkStoreTLS(section string) {
	e := &l.Etcd
	switch {
	case (e.Cert == "") != (e.Key == ""):
		l.wrong(section+".cert", "", "and key must stand together", "write both "+section+".cert and "+section+".key")
	case e.Protocol == "http" && (e.CACert != "" || e.Cert != ""):
		l.add(Warning, l.at(section), section, "", "has certificates, and protocol http does not use them", "write "+section+".protocol: https")
	}
}

// storeHost adds one member, written as host:port or as a URL. What a URL says
// about TLS and credentials counts.
func (l *loader) storeHost(hosts []string, key, text string) []string {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			l.wrong(key, "", "must be a URL http://host:port or https://host:port", "write "+key+": http://127.0.0.1:2379")
			return hosts
		}
		l.Etcd.Protocol, text = u.Scheme, u.Host
		if u.User != nil && l.Etcd.Username == "" {
			l.Etcd.Username = u.User.Username()
			l.Etcd.Password, _ = u.User.Password()
		}
	}
	if strings.Contains(text, "@") {
		l.wrong(key, "", "must be host:port, without a user", "write username and password as keys of their own")
		return hosts
	}
	if l.address(key, &text, 2379) {
		hosts = append(hosts, text)
	}
	return hosts
}

// Endpoints are Hosts as URLs.
func (e Etcd) Endpoints() []string {
	out := make([]string, 0, len(e.Hosts))
	for _, h := range e.Hosts {
		out = append(out, e.Protocol+"://"+h)
	}
	return out
}
