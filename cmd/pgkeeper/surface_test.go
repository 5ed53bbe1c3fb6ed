package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/restapi"
)

// TestTheRESTAPITakesAllOfAReloadOrNothing: with a certificate that is no good the old
// allowlist stays too.
func TestTheRESTAPITakesAllOfAReloadOrNothing(t *testing.T) {
	cert, key := newAuthority(t, "ca").pair("server")
	old := config.RESTAPI{CertFile: cert, KeyFile: key, Allowlist: []string{"10.0.0.1"}}
	server, err := restapi.New(restapi.Options{Status: func() *cluster.Status { return nil }, Now: clock.Now, Wall: clock.Wall, Access: access(old)})
	if err != nil {
		t.Fatal(err)
	}
	s := &surface{config: old, server: server, log: slog.New(slog.DiscardHandler)}
	if s.certificates, err = restapi.NewCertificates(s.tlsOptions(old)); err != nil {
		t.Fatal(err)
	}
	forbidden := func() bool { // httptest asks from 192.0.2.1
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, httptest.NewRequest(http.MethodPatch, "/config", strings.NewReader("nothing")))
		return answer.Code == http.StatusForbidden
	}
	for _, c := range []struct {
		name, cert, allowed, want string
	}{
		{"a certificate that is missing", "/nonexistent", "192.0.2.1", "/nonexistent"},
		{"an allowlist that is none", cert, "10.0.0.0/99", "restapi.allowlist"},
		{"all is well", cert, "192.0.2.1", ""},
	} {
		changed := &config.Config{RESTAPI: config.RESTAPI{CertFile: c.cert, KeyFile: key, Allowlist: []string{c.allowed}}}
		err := s.Reload(changed)
		refused := c.want != ""
		if refused != (err != nil) || err != nil && !strings.Contains(err.Error(), c.want) || forbidden() != refused || (s.config.Allowlist[0] == "10.0.0.1") != refused {
			t.Errorf("%s: %v, forbidden %t, in force %v", c.name, err, forbidden(), s.config.Allowlist)
		}
	}
}
