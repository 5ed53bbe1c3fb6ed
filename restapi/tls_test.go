package restapi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// authority signs certificates for a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate for localhost and its key, in one PEM text.
func (a *authority) issue(t *testing.T, serial int64) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
}

func put(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secure is a node over TLS with its files and its clock.
type secure struct {
	*authority
	now  atomic.Int64
	log  bytes.Buffer
	cert string
	base string
}

func newSecure(t *testing.T, verify string) *secure {
	t.Helper()
	s := &secure{authority: newAuthority(t)}
	s.now.Store(int64(present))
	dir := t.TempDir()
	s.cert = filepath.Join(dir, "server.pem")
	ca := filepath.Join(dir, "ca.pem")
	put(t, s.cert, s.issue(t, 100))
	put(t, ca, s.pem)
	config, err := TLSConfig(TLSOptions{
		CertFile: s.cert, CAFile: ca, VerifyClient: verify,
		Now: func() cluster.Instant { return cluster.Instant(s.now.Load()) },
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, primary(), onSockets, operated(&operator{result: cluster.Result{Done: true}}),
		func(o *Options) { o.Access = Access{VerifyClient: verify} })
	address := serveTLS(t, n, config)
	s.base = "https://" + address
	return s
}

// client makes one that trusts the authority and shows its own certificate.
func (s *secure) client(t *testing.T, own []byte) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(s.certificate)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if own != nil {
		pair, err := tls.X509KeyPair(own, own)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

// serial is the number of the certificate the node shows.
func (s *secure) serial(t *testing.T) int64 {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.base+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.client(t, nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	return w.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestARenewedCertificateIsTakenASecondLater(t *testing.T) {
	s := newSecure(t, "none")
	steps := []struct {
		name    string
		content []byte
		advance time.Duration
		serial  int64
	}{
		{"as started", nil, 0, 100},
		{"renewed, but looked at less than a second ago", append(s.issue(t, 101), '\n'), 900 * time.Millisecond, 100},
		{"looked at again", nil, 100 * time.Millisecond, 101},
		{"replaced by rubbish", []byte("rubbish"), time.Second, 101},
		{"rubbish looked at once more", nil, time.Second, 101},
		{"repaired", append(s.issue(t, 102), '\n', '\n'), time.Second, 102},
	}
	for _, step := range steps {
		if step.content != nil {
			put(t, s.cert, step.content)
		}
		s.now.Add(int64(step.advance))
		if got := s.serial(t); got != step.serial {
			t.Errorf("%s: serial %d, want %d", step.name, got, step.serial)
		}
	}
	if warned := strings.Count(s.log.String(), "changed certificates not taken"); warned != 1 {
		t.Errorf("warned %d times about one bad file:\n%s", warned, s.log.String())
	}
}

func TestClientCertificates(t *testing.T) {
	strange := newAuthority(t)
	cases := []struct {
		name, verify string
		own          func(*secure) []byte
		// get and post are the codes; 0 means that no connection comes about.
		get, post int
	}{
		{"optional and shown", "optional", func(s *secure) []byte { return s.issue(t, 7) }, 200, 202},
		{"optional and missing", "optional", func(*secure) []byte { return nil }, 200, 403},
		{"required and shown", "required", func(s *secure) []byte { return s.issue(t, 7) }, 200, 202},
		{"required and missing", "required", func(*secure) []byte { return nil }, 0, 0},
		{"required and signed by a stranger", "required", func(*secure) []byte { return strange.issue(t, 7) }, 0, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSecure(t, c.verify)
			client := s.client(t, c.own(s))
			for method, want := range map[string]int{"GET": c.get, "POST": c.post} {
				path := map[string]string{"GET": "/primary", "POST": "/reload"}[method]
				r, err := http.NewRequestWithContext(t.Context(), method, s.base+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				got := 0
				if w, err := client.Do(r); err == nil {
					got = w.StatusCode
					w.Body.Close()
				}
				if got != want {
					t.Errorf("%s %s: %d, want %d", method, path, got, want)
				}
			}
		})
	}
}

func TestTLSFilesThatAreNoGoodAreExplained(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	good, rubbish := filepath.Join(dir, "good.pem"), filepath.Join(dir, "rubbish.pem")
	put(t, good, a.issue(t, 1))
	put(t, rubbish, []byte("rubbish"))
	now := func() cluster.Instant { return present }
	cases := []struct {
		name    string
		options TLSOptions
		says    string
	}{
		{"no such certificate", TLSOptions{CertFile: filepath.Join(dir, "none"), Now: now}, "restapi.certfile"},
		{"certificate is rubbish", TLSOptions{CertFile: rubbish, Now: now}, rubbish},
		{"verify_client is unknown", TLSOptions{CertFile: good, VerifyClient: "maybe", Now: now}, `"maybe": want none, optional or required`},
		{"verify_client without authorities", TLSOptions{CertFile: good, VerifyClient: "required", Now: now}, "restapi.cafile is not set"},
		{"authorities are rubbish", TLSOptions{CertFile: good, CAFile: rubbish, VerifyClient: "optional", Now: now}, "holds no certificate"},
		{"no clock", TLSOptions{CertFile: good}, "Now must be given"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := TLSConfig(c.options); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q", err, c.says)
			}
		})
	}
}
