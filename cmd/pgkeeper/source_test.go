package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/config"
)

// authority signs certificates of a test.
type authority struct {
	t    *testing.T
	dir  string
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), name: name}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.issue("ca", a.cert, a.key)
	return a
}

// issue writes the pair name.crt, name.key.
func (a *authority) issue(name string, template *x509.Certificate, key *ecdsa.PrivateKey) (cert, keyFile string) {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, keyFile = a.file(name+".crt"), a.file(name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, keyFile
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// pair is one for 127.0.0.1, as server or client.
func (a *authority) pair(name string) (cert, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.issue(name, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, key)
}

func (a *authority) pool() *x509.CertPool {
	a.t.Helper()
	pem, err := os.ReadFile(a.file("ca.crt"))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

func TestTheAgentHereIsAskedByTLSWhereItHasACertificate(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	cert, key := ours.pair("server")
	clientCert, clientKey := ours.pair("client")
	serving, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/pgkeeper/explain":
			fmt.Fprint(w, `{"scope":"batman","member":"pg1","verdict":"well","reason":"leading","why":"","next":"","observed":[]}`)
		default:
			fmt.Fprint(w, `{"state":"running","role":"primary","server_version":170002,"patroni":{"name":"pg1","version":"4.1.4"}}`)
		}
	}))
	agent.TLS = &tls.Config{Certificates: []tls.Certificate{serving}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool()}
	agent.Config.ErrorLog = log.New(t.Output(), "", 0) // refused handshakes
	agent.StartTLS()
	defer agent.Close()

	member := fmt.Sprintf("scope: batman\nname: pg1\nrestapi: {listen: '%[1]s', connect_address: '%[1]s', certfile: %s, keyfile: %s%%s}\n"+
		"postgresql: {data_dir: /nonexistent}\n%%s", agent.Listener.Addr(), cert, key)
	ca := ", cafile: " + ours.file("ca.crt")
	for name, c := range map[string]struct {
		rest, more string
		flags      []string
		wrong      string
	}{
		"the API's own authority and pair serve":        {rest: ca},
		"ctl says which":                                {more: fmt.Sprintf("ctl: {cacert: %s, certfile: %s, keyfile: %s}\n", ours.file("ca.crt"), clientCert, clientKey)},
		"ctl before the API's":                          {rest: ", cafile: " + theirs.file("ca.crt"), more: "ctl: {cacert: " + ours.file("ca.crt") + "}\n"},
		"ctl.insecure checks nothing":                   {more: "ctl: {insecure: true}\n"},
		"-k checks nothing":                             {flags: []string{"-k"}},
		"no authority: nobody is believed":              {wrong: "name the authority of its certificate in ctl.cacert"},
		"another authority: this agent is not believed": {more: "ctl: {cacert: " + theirs.file("ca.crt") + "}\n", wrong: "name the authority of its certificate in ctl.cacert"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, fmt.Sprintf(member, c.rest, c.more))
			keys := map[string]string{"/service/batman/members/pg1": fmt.Sprintf(`{"api_url":"https://%s/patroni","state":"running","role":"primary"}`, agent.Listener.Addr())}
			for verb, says := range map[string]string{"healthcheck": "", "explain": "pg1: well", "version batman": "17.2"} {
				got := try{args: append(append(strings.Fields(verb), "-c", path), c.flags...), keys: keys}.run(t)
				if verb == "version batman" && c.wrong != "" {
					continue // it says of each member what it can
				}
				if c.wrong == "" && (got.code != 0 || !strings.Contains(got.out, says)) || c.wrong != "" && (got.code != 1 || !strings.Contains(got.errOut, c.wrong)) {
					t.Errorf("%s: %d %s%s", verb, got.code, got.out, got.errOut)
				}
			}
		})
	}
}

func TestAContainersEnvironmentSaysHowItsAgentIsAsked(t *testing.T) {
	ours := newAuthority(t, "ours")
	cert, key := ours.pair("server")
	serving, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, twoMembers) }))
	agent.TLS = &tls.Config{Certificates: []tls.Certificate{serving}}
	agent.StartTLS()
	defer agent.Close()
	env := []string{"PGKEEPER_RESTAPI_LISTEN=" + agent.Listener.Addr().String(), "PGKEEPER_RESTAPI_CERTFILE=" + cert, "PGKEEPER_RESTAPI_KEYFILE=" + key, "PATRONI_CTL_CACERT=" + ours.file("ca.crt")}
	if got := (try{args: []string{"list"}, env: env}).run(t); got.code != 0 || !strings.Contains(got.out, "pg2") {
		t.Errorf("by the agent: %d %s%s", got.code, got.out, got.errOut)
	}
	env = append(env, "PATRONI_ETCD3_HOSTS=127.0.0.1:2379")
	if got := (try{args: []string{"list"}, env: env, keys: batman()}).run(t); got.code != 0 || !strings.Contains(got.out, "Cluster: batman") {
		t.Errorf("by etcd: %d %s%s", got.code, got.out, got.errOut)
	}
}

func TestWhereTheAgentHereIsAsked(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]config.RESTAPI{
		"http://10.0.0.1:8008":  {Listen: "0.0.0.0:8008", ConnectAddress: "10.0.0.1:8008"},
		"https://10.0.0.1:8008": {Listen: "0.0.0.0:8008", ConnectAddress: "10.0.0.1:8008", CertFile: "x"},
		"https://127.0.0.1:1":   {Listen: "[::]:1", CertFile: "x"},
		"http://10.0.0.2:8008":  {Listen: "10.0.0.2:8008"},
		defaultAPI:              {},
	} {
		if got := ownAPI(c); got != want {
			t.Errorf("%+v is asked at %s, want %s", c, got, want)
		}
	}
}
