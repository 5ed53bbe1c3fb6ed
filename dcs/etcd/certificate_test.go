package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

// statusOnly is a member of etcd of which only the status is asked.
type statusOnly struct {
	pb.UnimplementedMaintenanceServer
}

func (statusOnly) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{MemberId: 1, RaftTerm: 2}, Leader: 1, RaftTerm: 2}, nil
}

// certificate signs itself and ends then.
func certificate(t *testing.T, ends time.Time) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: ends,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestACertificateThatEndsIsNamedUntilItIsRenewed(t *testing.T) {
	soon, late := time.Now().Add(5*24*time.Hour), time.Now().Add(300*24*time.Hour)
	var serving atomic.Pointer[tls.Certificate]
	serving.Store(certificate(t, soon))
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return serving.Load(), nil }})))
	pb.RegisterMaintenanceServer(server, statusOnly{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)

	var own atomic.Pointer[tls.Certificate]
	own.Store(certificate(t, late))
	kv := open(t, etcd.Options{Endpoints: []string{l.Addr().String()}, Now: clock.Now, Wall: clock.Wall,
		TLS: func() *tls.Config {
			return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*own.Load()}}
		}})
	named := func() (details []string, first int64) {
		v := kv.Health(within(t, time.Minute), true)
		for _, trouble := range v.Troubles {
			if trouble.Kind != cluster.StoreCertificate {
				t.Errorf("%v is not about a certificate", trouble)
			}
			details = append(details, trouble.Detail)
		}
		return details, v.CertificateEnds
	}
	if got, first := named(); len(got) != 1 || !strings.Contains(got[0], "member's certificate ends on "+soon.UTC().Format("2006-01-02")) || first != soon.Unix() {
		t.Errorf("the member's ends soon: %v, the first at %d", got, first)
	}
	serving.Store(certificate(t, late)) // renewed, while the connection is still the old one
	if got, first := named(); len(got) != 0 || first != late.Unix() {
		t.Errorf("renewed, and still named: %v, the first at %d", got, first)
	}
	own.Store(certificate(t, soon))
	if got, _ := named(); len(got) != 1 || !strings.Contains(got[0], "this agent's certificate") {
		t.Errorf("the agent's ends soon: %v", got)
	}
}
