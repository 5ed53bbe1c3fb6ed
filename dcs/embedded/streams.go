package embedded

import (
	"context"

	"google.golang.org/grpc"
)

// endStreamsWith makes every client stream end with alive: an orderly stop of
// etcd otherwise waits seconds for watches, which never end by themselves.
func endStreamsWith(alive context.Context) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		stop := context.AfterFunc(alive, cancel)
		defer stop()
		return handle(srv, mortal{stream, ctx})
	}
}

// mortal is a stream with another context.
type mortal struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (m mortal) Context() context.Context { return m.ctx }
