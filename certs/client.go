package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// Files are where a client's certificates are. Their key names, such as
// etcd3.cacert, are for messages.
type Files struct {
	// CA holds the authorities servers are checked against; empty means the system's.
	CA, CAKey string
	// Cert and Key are the client's own, Key empty when it is in Cert; without Cert
	// there is none. Password is of the key.
	Cert, Key, Password, CertKey string
}

// Client gives the TLS configuration of connections to servers, as its files say at
// the moment. It is safe for concurrent use.
type Client struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex
	stamps  [3]Stamp
	current *tls.Config
}

// NewClient reads the files once, and fails when they are no good; log, which may
// be nil, is told about changes.
func NewClient(files Files, log *slog.Logger) (*Client, error) {
	c := &Client{files: files, log: log, stamps: files.stamps()}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	var err error
	c.current, err = files.load()
	return c, err
}

// Config is the configuration of the files as they last were good. The caller may
// keep it for one connection and must not change it.
func (c *Client) Config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps := c.files.stamps()
	if stamps == c.stamps {
		return c.current
	}
	config, err := c.files.load()
	if err != nil {
		c.log.Warn("changed certificates not taken", "error", err.Error())
	} else {
		c.current = config
		c.log.Info("certificates reloaded", "file", c.files.Cert+" "+c.files.CA)
	}
	c.stamps = stamps // these contents, good or not, are not tried again
	return c.current
}

// Dial connects and shakes hands by the files as they are now; it fits
// http.Transport.DialTLSContext.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := tls.Dialer{Config: c.Config()}
	return dialer.DialContext(ctx, network, address)
}

func (f Files) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		data, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.CAKey, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s %s holds no certificate in PEM form", f.CAKey, f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := Pair(f.Cert, f.Key, f.Password)
		if err != nil {
			return nil, fmt.Errorf("read %s and its key: %w", f.CertKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (f Files) stamps() [3]Stamp {
	return [3]Stamp{StampOf(f.CA), StampOf(f.Cert), StampOf(f.Key)}
}

// Stamp tells one content of a file from another.
type Stamp struct {
	modified time.Time
	size     int64
}

// StampOf looks at a file; one that cannot be looked at has the zero stamp.
func StampOf(path string) Stamp {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}
	}
	return Stamp{info.ModTime(), info.Size()}
}
