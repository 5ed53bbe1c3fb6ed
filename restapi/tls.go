package restapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/certs"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// TLSOptions says where the certificates of the REST API are.
type TLSOptions struct {
	// CertFile holds the certificate chain and, where KeyFile is empty, its key.
	CertFile, KeyFile string
	// KeyFilePassword is for a key that has one.
	KeyFilePassword string
	// Ciphers are the suites of TLS 1.2 in OpenSSL's names, with colons between;
	// empty leaves the choice to Go. TLS 1.3 has no choice.
	Ciphers string
	// CAFile holds the authorities that sign client certificates.
	CAFile string
	// VerifyClient is "", none, optional or required.
	VerifyClient string
	// Now reads CLOCK_BOOTTIME: files are looked at again once a second at most.
	Now func() cluster.Instant
	// Log may be nil.
	Log *slog.Logger
}

// Certificates keeps the TLS configuration of the files as they last were good.
type Certificates struct {
	options TLSOptions
	log     *slog.Logger

	mu      sync.Mutex
	looked  cluster.Instant
	stamps  [3]certs.Stamp
	current *tls.Config
}

// NewCertificates reads the certificates; its Config reads them again when a file
// changes, so that a renewed certificate needs no reload. A changed file that is no
// good leaves the last good one in force and is logged once. The error names the
// file and what to do.
func NewCertificates(options TLSOptions) (*Certificates, error) {
	if options.Now == nil {
		return nil, errors.New("make tls configuration: Now must be given")
	}
	c := &Certificates{}
	return c, c.Reload(options)
}

// Reload takes other files, or other rules. On an error nothing changes.
func (c *Certificates) Reload(options TLSOptions) error {
	if options.KeyFile == "" {
		options.KeyFile = options.CertFile
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps := (&Certificates{options: options}).stat()
	config, err := options.load()
	if err != nil {
		return err
	}
	c.options, c.log, c.current, c.stamps, c.looked = options, options.Log, config, stamps, options.Now()
	return nil
}

// Config is a configuration for a listener, which follows the files.
func (c *Certificates) Config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	outer := c.current.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.fresh(), nil }
	return outer
}

// TLSConfig is the Config of NewCertificates.
func TLSConfig(options TLSOptions) (*tls.Config, error) {
	c, err := NewCertificates(options)
	if err != nil {
		return nil, err
	}
	return c.Config(), nil
}

// cipherSuites finds suites by OpenSSL's names, as far as Go has them and holds
// them for safe; what it does not find is given back.
func cipherSuites(list string) (suites []uint16, unknown []string) {
	known := map[string]uint16{}
	for _, suite := range tls.CipherSuites() {
		known[opensslName(suite.Name)] = suite.ID
	}
	for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return strings.ContainsRune(": ,", r) }) {
		if id, found := known[strings.ToUpper(name)]; found {
			suites = append(suites, id)
		} else {
			unknown = append(unknown, name)
		}
	}
	return suites, unknown
}

// opensslName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into
// ECDHE-RSA-AES128-GCM-SHA256.
func opensslName(name string) string {
	name = strings.TrimPrefix(name, "TLS_")
	return strings.NewReplacer("_WITH_", "-", "AES_128", "AES128", "AES_256", "AES256",
		"CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305", "_", "-").Replace(name)
}

// load builds the configuration from the files.
func (o TLSOptions) load() (*tls.Config, error) {
	pair, err := certs.Pair(o.CertFile, o.KeyFile, o.KeyFilePassword)
	if err != nil {
		return nil, fmt.Errorf("load restapi.certfile %s and restapi.keyfile %s: %w: "+
			"want PEM files of one pair, and restapi.keyfile_password when the key has a password", o.CertFile, o.KeyFile, err)
	}
	suites, unknown := cipherSuites(o.Ciphers)
	if len(unknown) > 0 && o.Log != nil {
		o.Log.Warn("ciphers left out", "ciphers", strings.Join(unknown, ":"), "reason", "restapi.ciphers takes names of suites that Go has for TLS 1.2, such as ECDHE-RSA-AES128-GCM-SHA256")
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		CipherSuites: suites,
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
func (c *Certificates) fresh() *tls.Config {
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
func (c *Certificates) stat() [3]certs.Stamp {
	o := c.options
	return [3]certs.Stamp{certs.StampOf(o.CertFile), certs.StampOf(o.KeyFile), certs.StampOf(o.CAFile)}
}
