package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// read explains the failure of a request that changes nothing.
func (k *KV) read(op string, err error) error {
	if err == nil {
		return nil
	}
	return k.explain(op, err, sentinel(err, dcs.ErrUnavailable))
}

// write explains the failure of a request that changes something: unless etcd
// said that it refused, or the request never left, nobody can tell.
func (k *KV) write(op string, err error) error {
	if err == nil {
		return nil
	}
	lost := dcs.ErrUnknownOutcome
	if neverSent(err) {
		lost = dcs.ErrUnavailable
	}
	return k.explain(op, err, sentinel(err, lost))
}

func (k *KV) explain(op string, err, kind error) error {
	switch {
	case kind == nil:
		return fmt.Errorf("etcd %s: %w", op, err)
	case errors.Is(err, kind):
		return err // explained already
	}
	return fmt.Errorf("etcd %s at %s: %w: %w", op, strings.Join(k.options.Endpoints, ", "), kind, err)
}

var denied = []error{
	rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, rpctypes.ErrInvalidAuthToken,
	rpctypes.ErrPermissionDenied, rpctypes.ErrPermissionNotGranted, rpctypes.ErrAuthOldRevision,
}

// sentinel is the dcs error that err amounts to; lost is for an answer that never
// came. nil means that the request itself is wrong.
func sentinel(err, lost error) error {
	for _, known := range []error{dcs.ErrUnavailable, dcs.ErrUnknownOutcome, dcs.ErrCompared, dcs.ErrLeaseGone, dcs.ErrCompacted, dcs.ErrDenied} {
		if errors.Is(err, known) {
			return known
		}
	}
	plain := rpctypes.Error(err)
	for _, d := range denied {
		if errors.Is(plain, d) {
			return dcs.ErrDenied
		}
	}
	switch {
	case errors.Is(plain, rpctypes.ErrLeaseNotFound):
		return dcs.ErrLeaseGone
	case errors.Is(plain, rpctypes.ErrCompacted):
		return dcs.ErrCompacted
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return lost
	}
	switch code(plain) {
	case codes.InvalidArgument:
		return nil
	case codes.Unauthenticated, codes.PermissionDenied:
		return dcs.ErrDenied
	case codes.ResourceExhausted, codes.FailedPrecondition, codes.OutOfRange, codes.NotFound, codes.Unimplemented:
		// Refused before it was proposed, or by the rules when it was applied.
		return dcs.ErrUnavailable
	}
	return lost
}

func code(err error) codes.Code {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code()
	}
	return status.Code(err)
}
