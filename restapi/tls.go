package restapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TLSOptions says where the certificates of the REST API are.
type TLSOptions struct {
	// CertFile holds the certificate chain and, where KeyFile is empty, its key.
	CertFile, KeyFile string
	// CAFile holds the authorities that sign client certificates.
	CAFile string
	// VerifyClient is "", none, optional or required.
	VerifyClient string
	// Now reads CLOCK_BOOTTIME: files are looked at again once a second at most.
	Now func() cluster.Instant
	// Log may be nil.
	Log *slog.Logger
}

// certificates keeps the TLS configuration of the files as they last were good.
type certificates struct {
	options TLSOptions
	log     *slog.Logger

	mu      sync.Mutex
	looked  cluster.Instant
	stamps  [3]stamp
	current *tls.Config
}

// stamp tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// TLSConfig reads the certificates and returns a configuration that reads them
// again when a file changes, so that a renewed certificate needs no reload. A
// changed file that is no good leaves the last good one in force and is logged
// once. The error names the file and what to do.
func TLSConfig(options TLSOptions) (*tls.Config, error) {
	if options.Now == nil {
		return nil, errors.New("make tls configuration: Now must be given")
	}
	if options.KeyFile == "" {
		options.KeyFile = options.CertFile
	}
	c := &certificates{options: options, log: options.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.stamps = c.stat()
	config, err := options.load()
	if err != nil {
		return nil, err
	}
	c.current, c.looked = config, options.Now()
	outer := config.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.fresh(), nil }
	return outer, nil
}

// load builds the configuration from the files.
func (o TLSOptions) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load restapi.certfile %s and restapi.keyfile %s: %w: "+
			"want PEM files of one pair, the key without a password", o.CertFile, o.KeyFile, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}
	switch o.VerifyClient {
	case "", "none":
		return config, nil
	case "optional":
		config.ClientAuth = tls.VerifyClientCertIfGiven
	case "required":
		config.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return nil, fmt.Errorf("restapi.verify_client is %q: want none, optional or required", o.VerifyClient)
	}
	config.ClientCAs, err = o.authorities()
	return config, err
}

// authorities reads the CA file. Without one client certificates could only be
// checked against the machine's public authorities, which sign anybody's.
func (o TLSOptions) authorities() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, fmt.Errorf("restapi.verify_client is %s, but restapi.cafile is not set: name the file with the authorities that sign client certificates", o.VerifyClient)
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read restapi.cafile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("restapi.cafile %s holds no certificate in PEM form", o.CAFile)
	}
	return pool, nil
}

// lookEvery bounds how often the files are looked at.
const lookEvery = time.Second

// fresh returns the configuration in force, after a look at the files when the
// last one is a second ago.
func (c *certificates) fresh() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.options.Now()
	if now.Sub(c.looked) < lookEvery {
		return c.current
	}
	c.looked = now
	stamps := c.stat()
	if stamps == c.stamps {
		return c.current
	}
	config, err := c.options.load()
	if err != nil {
		c.log.Warn("changed certificates not taken", "error", err)
	} else {
		c.current = config
		c.log.Info("certificates reloaded", "file", c.options.CertFile)
	}
	// Whether good or not, these contents are not tried again.
	c.stamps = stamps
	return c.current
}

// stat looks at the files; one that cannot be looked at has the zero stamp.
func (c *certificates) stat() [3]stamp {
	var out [3]stamp
	for i, name := range []string{c.options.CertFile, c.options.KeyFile, c.options.CAFile} {
		if info, err := os.Stat(name); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}
