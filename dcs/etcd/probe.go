package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// probe is what one member said of itself, or why it said nothing.
type probe struct {
	err     error
	errors  []string // alarms, and that it has no leader, in etcd's words
	member  uint64
	leader  uint64
	term    uint64
	applied uint64
	learner bool
	size    int64
	quota   int64 // 0 where the member does not tell, before etcd 3.6
	took    time.Duration
	// certificate is when the member's ends; zero without TLS.
	certificate time.Time
}

// probe asks one member how it does.
func (k *KV) probe(ctx context.Context, client *clientv3.Client, s *keeper) (p probe) {
	conn, err := s.connection(client)
	if err != nil {
		return probe{err: err}
	}
	began := k.now()
	var at peer.Peer
	r, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{}, grpc.Peer(&at), grpc.WaitForReady(false))
	if err != nil {
		return probe{err: err}
	}
	k.terms.heard(r.Header)
	return probe{errors: r.Errors, member: r.Header.GetMemberId(), leader: r.Leader, term: r.RaftTerm, applied: r.RaftAppliedIndex, learner: r.IsLearner,
		size: r.DbSize, quota: r.DbSizeQuota, took: k.now().Sub(began), certificate: k.serverCertificate(ctx, s.endpoint, at)}
}

// serverCertificate is when the member's certificate ends. The connection may be older
// than a certificate that was renewed: one about to end is looked at again.
func (k *KV) serverCertificate(ctx context.Context, endpoint string, at peer.Peer) time.Time {
	info, secure := at.AuthInfo.(credentials.TLSInfo)
	if !secure || k.options.TLS == nil || len(info.State.PeerCertificates) == 0 {
		return time.Time{}
	}
	ends := info.State.PeerCertificates[0].NotAfter
	if ends.Sub(k.wall()) > certificateWarning {
		return ends
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ends
	}
	conn, err := (&tls.Dialer{Config: k.options.TLS()}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return ends
	}
	defer conn.Close()
	if secured, ok := conn.(*tls.Conn); ok && len(secured.ConnectionState().PeerCertificates) > 0 {
		return secured.ConnectionState().PeerCertificates[0].NotAfter
	}
	return ends
}

// ownCertificate is when the client's certificate ends; zero without one.
func (k *KV) ownCertificate() time.Time {
	if k.options.TLS == nil {
		return time.Time{}
	}
	certificates := k.options.TLS().Certificates
	if len(certificates) == 0 || len(certificates[0].Certificate) == 0 {
		return time.Time{}
	}
	leaf, err := x509.ParseCertificate(certificates[0].Certificate[0])
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// wall is the time of day, which certificates go by; zero when the client has no clock.
func (k *KV) wall() time.Time {
	if k.options.Wall == nil {
		return time.Time{}
	}
	return k.options.Wall()
}
