package main

import (
	"log/slog"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/certs"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

// openEtcd connects to etcd as the configuration says.
func openEtcd(c config.Etcd) (dcs.KV, error) {
	options, err := etcdOptions(c, nil)
	if err != nil {
		return nil, err
	}
	options.Now, options.Wall = clock.Now, clock.Wall
	return etcd.New(options)
}

// etcdOptions are etcd's, with certificates that follow their files. log may be nil.
func etcdOptions(c config.Etcd, log *slog.Logger) (etcd.Options, error) {
	options := etcd.Options{Endpoints: c.Hosts, Username: c.Username, Password: c.Password}
	if c.Protocol != "https" {
		return options, nil
	}
	client, err := certs.NewClient(certs.Files{
		CA: c.CACert, CAKey: "etcd3.cacert", Cert: c.Cert, Key: c.Key, CertKey: "etcd3.cert",
	}, log)
	if err != nil {
		return options, err
	}
	options.TLS = client.Config
	return options, nil
}
