package etcd

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Requests wait for a connection as long as their context lets them: a member
// that restarts is met by the request already under way, not by a loop. When the
// context ends first, the request was never sent, which for a write is the
// difference between "no effect" and "nobody can tell". gRPC says it only in the
// error's text, and the library above replaces that error by the context's, so it
// is caught below the library.

// unsentUnary and unsentStream mark requests that never found a connection.
func unsentUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return markUnsent(invoke(ctx, method, req, reply, cc, opts...))
}

func unsentStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	return stream, markUnsent(err)
}

const unsentMark = "not sent: "

func markUnsent(err error) error {
	text := status.Convert(err).Message()
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		if strings.Contains(text, "latest balancer error") || strings.Contains(text, "waiting for connections to become ready") {
			return status.Error(codes.Unavailable, unsentMark+text)
		}
	case codes.Unavailable:
		if strings.Contains(text, "Error while dialing") || strings.Contains(text, "authentication handshake failed") {
			return status.Error(codes.Unavailable, unsentMark+text)
		}
	}
	return err
}

// neverSent recognises the mark; an error without it counts as sent.
func neverSent(err error) bool {
	return code(err) == codes.Unavailable && strings.Contains(err.Error(), unsentMark)
}
