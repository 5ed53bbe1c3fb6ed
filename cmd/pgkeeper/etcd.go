package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

// openEtcd connects to etcd as the configuration says.
func openEtcd(c config.Etcd) (dcs.KV, error) {
	options, err := etcdOptions(c)
	if err != nil {
		return nil, err
	}
	return etcd.New(options)
}

func etcdOptions(c config.Etcd) (etcd.Options, error) {
	options := etcd.Options{Endpoints: c.Hosts, Username: c.Username, Password: c.Password}
	if c.Protocol != "https" {
		return options, nil
	}
	options.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CACert != "" {
		pem, err := os.ReadFile(c.CACert)
		if err != nil {
			return options, fmt.Errorf("read etcd3.cacert: %w", err)
		}
		options.TLS.RootCAs = x509.NewCertPool()
		if !options.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return options, fmt.Errorf("etcd3.cacert %s holds no certificate in PEM form", c.CACert)
		}
	}
	if c.Cert != "" {
		key := c.Key
		if key == "" {
			key = c.Cert
		}
		pair, err := tls.LoadX509KeyPair(c.Cert, key)
		if err != nil {
			return options, fmt.Errorf("read etcd3.cert and etcd3.key: %w", err)
		}
		options.TLS.Certificates = []tls.Certificate{pair}
	}
	return options, nil
}
