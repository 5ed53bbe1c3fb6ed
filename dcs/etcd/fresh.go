package etcd

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
)

// fresh are transport credentials that take the settings anew for each connection:
// clientv3 keeps what it was made with until it is made anew.
type fresh struct {
	first *tls.Config
	now   func() *tls.Config
}

func (f fresh) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(f.now()).ClientHandshake(ctx, authority, raw)
}

func (f fresh) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(f.first).ServerHandshake(raw)
}

func (f fresh) Info() credentials.ProtocolInfo { return credentials.NewTLS(f.first).Info() }

func (f fresh) Clone() credentials.TransportCredentials { return f }

// OverrideServerName is gRPC's former way to name the server; clientv3 does not use it.
func (f fresh) OverrideServerName(string) error { return nil }
