package restapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// gate is Access, parsed.
type gate struct {
	Access
	ranges []netip.Prefix
	hosts  []string
	// sameOrigin refuses what a browser sends for another site's page: such a
	// page could otherwise restart a server through its operator's loopback.
	sameOrigin *http.CrossOriginProtection
	// lookup resolves host names.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// lookupTime bounds resolving all names of one request.
const lookupTime = 2 * time.Second

// Check says what of it no server takes: an entry of the allowlist that is no address, range or host name.
func (a Access) Check() error {
	_, err := newGate(a)
	return err
}

func newGate(access Access) (*gate, error) {
	g := &gate{Access: access, sameOrigin: http.NewCrossOriginProtection()}
	g.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	for _, entry := range access.Allowlist {
		if prefix, ok := parseRange(entry); ok {
			g.ranges = append(g.ranges, prefix)
			continue
		}
		if entry == "" || strings.ContainsAny(entry, "/ \t:,") {
			return nil, fmt.Errorf("restapi.allowlist: %q is no address, no range such as 10.0.0.0/24 and no host name", entry)
		}
		g.hosts = append(g.hosts, entry)
	}
	return g, nil
}

// parseRange reads an address or a CIDR range.
func parseRange(s string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.Masked(), true
	}
	address, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	address = address.Unmap()
	return netip.PrefixFrom(address, address.BitLen()), true
}

// admit judges who may do something; nil when they may.
func (s *Server) admit(r *http.Request) *answer {
	g := s.access.Load()
	if !g.configured(r) {
		if refused := g.otherSite(r); refused != nil {
			return refused
		}
		return g.loopbackOnly(r)
	}
	return s.judge(g, r, g.listed())
}

// admitPatroni judges who may ask as Patroni's members ask each other: by what is
// configured, as Patroni does. That members are included restricts nobody by itself, and
// where nothing is configured everybody may ask; in whose name is looked at next.
func (s *Server) admitPatroni(r *http.Request) *answer {
	g := s.access.Load()
	return s.judge(g, r, len(g.Allowlist) > 0)
}

// judge goes by what is configured.
func (s *Server) judge(g *gate, r *http.Request, listed bool) *answer {
	if refused := g.otherSite(r); refused != nil {
		return refused
	}
	remote, known := remoteAddress(r)
	if listed && !(known && g.allows(r.Context(), remote, s.facts().View.Value)) {
		return &answer{code: http.StatusForbidden, text: fmt.Sprintf("%s is not in restapi.allowlist: add %q there to allow it", remote, remote)}
	}
	if g.wantsCertificate(r) && len(r.TLS.VerifiedChains) == 0 {
		return &answer{code: http.StatusForbidden, text: "a client certificate signed by restapi.cafile is required (restapi.verify_client is " + g.VerifyClient + ")"}
	}
	if g.Username != "" && !g.authenticated(r) {
		return &answer{code: http.StatusUnauthorized, text: "user name or password missing or wrong (restapi.authentication)"}
	}
	return nil
}

// otherSite refuses what a browser sends for another site's page.
func (g *gate) otherSite(r *http.Request) *answer {
	if err := g.sameOrigin.Check(r); err != nil {
		return &answer{code: http.StatusForbidden, text: "a page of another site may not do this: " + err.Error()}
	}
	return nil
}

// configured reports whether anything protects this request.
func (g *gate) configured(r *http.Request) bool {
	return g.listed() || g.Username != "" || g.wantsCertificate(r)
}

// listed reports whether addresses are restricted.
func (g *gate) listed() bool { return len(g.Allowlist) > 0 || g.AllowlistIncludeMembers }

// wantsCertificate reports whether a client certificate is asked for.
func (g *gate) wantsCertificate(r *http.Request) bool {
	return r.TLS != nil && (g.VerifyClient == "optional" || g.VerifyClient == "required")
}

// loopbackOnly is the rule where nothing is configured. A request that a proxy on
// this machine passed on does not come from this machine.
func (g *gate) loopbackOnly(r *http.Request) *answer {
	remote, _ := remoteAddress(r)
	proxied := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("Via") != ""
	if remote.IsLoopback() && !proxied {
		return nil
	}
	who := remote.String()
	if proxied {
		who = "a proxy"
	}
	return &answer{code: http.StatusForbidden, text: fmt.Sprintf(
		"%s from %s refused: nothing is configured to protect it, so only this machine itself may. "+
			"Add one of these to the configuration: restapi: {allowlist: [%s]} or restapi: {authentication: {username: NAME, password: SECRET}}",
		r.Method, who, remote)}
}

// allows reports whether an address is on the list.
func (g *gate) allows(ctx context.Context, remote netip.Addr, view cluster.View) bool {
	for _, prefix := range g.ranges {
		if prefix.Contains(remote) {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	for _, host := range g.names(view) {
		if g.resolvesTo(ctx, host, remote) {
			return true
		}
	}
	return false
}

// names are the hosts to resolve: the list's, and the members' where included.
func (g *gate) names(view cluster.View) []string {
	names := g.hosts
	if !g.AllowlistIncludeMembers {
		return names
	}
	for _, member := range view.Members {
		if target, err := url.Parse(member.APIURL); err == nil && target.Hostname() != "" {
			names = append(slices.Clip(names), target.Hostname())
		}
	}
	return names
}

func (g *gate) resolvesTo(ctx context.Context, host string, remote netip.Addr) bool {
	if prefix, ok := parseRange(host); ok {
		return prefix.Contains(remote)
	}
	addresses, err := g.lookup(ctx, host)
	if err != nil {
		return false // a name that does not resolve allows nobody
	}
	for _, address := range addresses {
		if address.Unmap() == remote {
			return true
		}
	}
	return false
}

// authenticated compares name and password in constant time, hashed first so
// that their lengths do not show either.
func (g *gate) authenticated(r *http.Request) bool {
	username, password, _ := r.BasicAuth()
	return same(username, g.Username)&same(password, g.Password) == 1
}

func same(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// remoteAddress is where a request comes from; unknown for anything but TCP.
func remoteAddress(r *http.Request) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return peer.Addr().Unmap().WithZone(""), true
}
