package restapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func from(remote string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = remote }
}

func basic(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func overTLS(certified bool) func(*http.Request) {
	return func(r *http.Request) {
		r.TLS = &tls.ConnectionState{}
		if certified {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{{}}}
		}
	}
}

// TestWhoMayUseUnsafeMethods crosses what is configured with who asks.
func TestWhoMayUseUnsafeMethods(t *testing.T) {
	type request = func(*http.Request)
	password := Access{Username: "admin", Password: "s3cret"}
	list := Access{Allowlist: []string{"10.0.0.0/24", "192.168.7.7", "fd00::/8", "operator.example"}}
	both := Access{Username: "admin", Password: "s3cret", Allowlist: list.Allowlist}
	certificate := Access{VerifyClient: "optional"}
	cases := []struct {
		name   string
		access Access
		asks   []request
		code   int
		says   string
	}{
		{"nothing configured, from loopback", Access{}, nil, 202, ""},
		{"nothing configured, from loopback by IPv6", Access{}, []request{from("[::1]:9")}, 202, ""},
		{"nothing configured, from elsewhere", Access{}, []request{from("10.0.0.9:1")}, 403, "restapi: {allowlist: [10.0.0.9]}"},
		{"nothing configured, from loopback through a proxy", Access{}, []request{header("X-Forwarded-For", "10.0.0.9")}, 403, "allowlist"},
		{"nothing configured, from no address", Access{}, []request{from("@")}, 403, "refused"},
		{"nothing configured, by another site's page", Access{}, []request{header("Sec-Fetch-Site", "cross-site")}, 403, "page of another site"},
		{"nothing configured, by another origin's page", Access{}, []request{header("Origin", "http://evil.example")}, 403, "page of another site"},
		{"verify_client none is nothing", Access{VerifyClient: "none"}, []request{from("10.0.0.9:1"), overTLS(false)}, 403, "allowlist"},
		{"verify_client without TLS is nothing", certificate, []request{from("10.0.0.9:1")}, 403, "allowlist"},

		{"password right, from anywhere", password, []request{from("10.9.9.9:1"), basic("admin", "s3cret")}, 202, ""},
		{"password wrong", password, []request{basic("admin", "s3cret2")}, 401, "restapi.authentication"},
		{"password of another user", password, []request{basic("root", "s3cret")}, 401, ""},
		{"password empty", password, []request{basic("", "")}, 401, ""},
		{"password missing, even from loopback", password, nil, 401, ""},
		{"password by another scheme", password, []request{header("Authorization", "Bearer s3cret")}, 401, ""},

		{"address in a range of the list", list, []request{from("10.0.0.200:1")}, 202, ""},
		{"address mapped into IPv6", list, []request{from("[::ffff:10.0.0.200]:1")}, 202, ""},
		{"address of the list", list, []request{from("192.168.7.7:1")}, 202, ""},
		{"IPv6 address in a range", list, []request{from("[fd00::5]:1")}, 202, ""},
		{"address a listed name resolves to", list, []request{from("172.16.0.1:1")}, 202, ""},
		{"address outside the list", list, []request{from("10.0.1.1:1")}, 403, `add "10.0.1.1"`},
		{"loopback is not on the list by itself", list, nil, 403, "allowlist"},

		{"members are included, by address", Access{AllowlistIncludeMembers: true}, []request{from("10.0.0.2:1")}, 202, ""},
		{"members are included, a stranger", Access{AllowlistIncludeMembers: true}, []request{from("10.0.0.77:1")}, 403, "allowlist"},

		{"list and password, both right", both, []request{from("10.0.0.9:1"), basic("admin", "s3cret")}, 202, ""},
		{"list right, password missing", both, []request{from("10.0.0.9:1")}, 401, ""},
		{"password right, outside the list", both, []request{from("10.9.9.9:1"), basic("admin", "s3cret")}, 403, "allowlist"},

		{"certificate given", certificate, []request{from("10.9.9.9:1"), overTLS(true)}, 202, ""},
		{"certificate missing", certificate, []request{overTLS(false)}, 403, "client certificate"},
		{"certificate optional, password set, no TLS", Access{VerifyClient: "optional", Username: "admin", Password: "x"}, []request{from("10.9.9.9:1"), basic("admin", "x")}, 202, ""},
		{"certificate and password, password missing", Access{VerifyClient: "required", Username: "admin", Password: "x"}, []request{overTLS(true)}, 401, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := &operator{}
			o.result.Done = true
			n := newNode(t, primary(), operated(o), func(o *Options) { o.Access = c.access })
			n.access.Load().lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
				if host != "operator.example" {
					return nil, errors.New("no such host")
				}
				return []netip.Addr{netip.MustParseAddr("172.16.0.1")}, nil
			}
			w := n.ask(http.MethodPost, "/reload", "", c.asks...)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %q, want %d with %q", w.Code, w.Body, c.code, c.says)
			}
			if (c.code == 202) != (len(o.requests) == 1) {
				t.Errorf("the operator got %d requests", len(o.requests))
			}
			if c.code == 401 && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("WWW-Authenticate is %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

func TestEveryUnsafeOperationIsGuardedAndNoReadIs(t *testing.T) {
	n := newNode(t, primary(), operated(&operator{}), func(o *Options) { o.Access = Access{Username: "u", Password: "p"} })
	for _, op := range n.writes() {
		if w := n.ask(op.method, op.path, "{}"); w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s without a password: %d", op.method, op.path, w.Code)
		}
		if w := n.ask(op.method, op.path+"/", "{}"); w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s/ without a password: %d", op.method, op.path, w.Code)
		}
	}
	for path := range n.reads() {
		if w := n.ask(http.MethodGet, path, ""); w.Code == http.StatusUnauthorized {
			t.Errorf("GET %s asks for a password", path)
		}
	}
}

func TestAccessCanBeReplacedWhileServing(t *testing.T) {
	n := newNode(t, primary())
	if err := n.SetAccess(Access{Allowlist: []string{"10.0.0.0/99"}}); err == nil || !strings.Contains(err.Error(), "10.0.0.0/99") {
		t.Errorf("a wrong range: %v", err)
	}
	if w := n.ask(http.MethodPost, "/reload", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("after a wrong list: %d, want the old rules", w.Code)
	}
	if err := n.SetAccess(Access{Allowlist: []string{"10.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	if w := n.ask(http.MethodPost, "/reload", ""); w.Code != http.StatusForbidden {
		t.Errorf("after a new list: %d, want 403", w.Code)
	}
}
