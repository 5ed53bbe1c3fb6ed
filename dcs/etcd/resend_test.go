package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// member answers attempt n (from 1) as the test says.
type member func(ctx context.Context, n int32) (int, error)

// ask runs resend over m with 100 ms between attempts.
func ask(ctx context.Context, m member) (value int, attempts int32, err error) {
	var n atomic.Int32
	value, err = resend(ctx, 100*time.Millisecond, func(ctx context.Context) (int, error) { return m(ctx, n.Add(1)) })
	return value, n.Load(), err
}

func hang(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, fmt.Errorf("%w: %w", dcs.ErrUnknownOutcome, ctx.Err())
}

func TestASlowMemberIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		value, attempts, err := ask(t.Context(), func(ctx context.Context, n int32) (int, error) {
			if n < 3 {
				return hang(ctx)
			}
			return 7, nil
		})
		if value != 7 || err != nil || attempts != 3 || time.Since(began) != 200*time.Millisecond {
			t.Errorf("value %d, error %v, %d attempts, %s", value, err, attempts, time.Since(began))
		}
	})
}

func TestALateAnswerOfTheFirstAttemptCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value, _, err := ask(t.Context(), func(ctx context.Context, n int32) (int, error) {
			if n > 1 {
				return hang(ctx)
			}
			<-time.After(350 * time.Millisecond)
			return 1, nil
		})
		if value != 1 || err != nil {
			t.Errorf("value %d, error %v", value, err)
		}
	})
}

func TestABrokenConnectionIsAnsweredByTheNextMemberAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, attempts, err := ask(t.Context(), func(_ context.Context, n int32) (int, error) {
			if n == 1 {
				return 0, dcs.ErrUnknownOutcome
			}
			return 0, nil
		})
		if err != nil || attempts != 2 || time.Since(began) != 0 {
			t.Errorf("error %v after %d attempts, %s", err, attempts, time.Since(began))
		}
	})
}

func TestAnAnswerThatSettlesTheMatterIsNotAskedForAgain(t *testing.T) {
	for _, settled := range []error{dcs.ErrCompared, dcs.ErrLeaseGone, dcs.ErrDenied, errors.New("wrong request")} {
		if _, attempts, err := ask(t.Context(), func(context.Context, int32) (int, error) { return 0, settled }); !errors.Is(err, settled) || attempts != 1 {
			t.Errorf("%v: error %v after %d attempts", settled, err, attempts)
		}
	}
}

func TestOneUnknownOutcomeAmongRefusalsIsWhatCounts(t *testing.T) {
	_, attempts, err := ask(t.Context(), func(_ context.Context, n int32) (int, error) {
		if n == 2 {
			return 0, dcs.ErrUnknownOutcome
		}
		return 0, dcs.ErrUnavailable
	})
	if !errors.Is(err, dcs.ErrUnknownOutcome) || attempts != mostAttempts {
		t.Errorf("error %v after %d attempts", err, attempts)
	}
}

func TestTheEndOfTheContextWithAnAttemptUnderWayIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		_, _, err := ask(ctx, func(ctx context.Context, n int32) (int, error) {
			if n == 1 {
				return 0, dcs.ErrUnavailable
			}
			return hang(ctx)
		})
		k := &KV{}
		if err = k.write("txn", err); !errors.Is(err, dcs.ErrUnknownOutcome) || errors.Is(err, dcs.ErrUnavailable) {
			t.Errorf("error is %v: one attempt was refused, but another may have been applied", err)
		}
	})
}

func TestErrorsOfEtcdAreTold(t *testing.T) {
	unavailable := func(text string) error { return status.Error(codes.Unavailable, text) }
	for _, c := range []struct {
		err         error
		read, write error
	}{
		{context.DeadlineExceeded, dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{status.Error(codes.DeadlineExceeded, "x"), dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{context.Canceled, dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{unavailable("error reading from server: EOF"), dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{markUnsent(unavailable(`last connection error: connection error: desc = "transport: Error while dialing: dial tcp: refused"`)), dcs.ErrUnavailable, dcs.ErrUnavailable},
		{markUnsent(status.Error(codes.DeadlineExceeded, "latest balancer error: last connection error: ...")), dcs.ErrUnavailable, dcs.ErrUnavailable},
		{markUnsent(status.Error(codes.DeadlineExceeded, "context deadline exceeded while waiting for connections to become ready")), dcs.ErrUnavailable, dcs.ErrUnavailable},
		{markUnsent(status.Error(codes.DeadlineExceeded, "context deadline exceeded")), dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{rpctypes.ErrTimeout, dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{rpctypes.ErrTimeoutDueToLeaderFail, dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{rpctypes.ErrNoLeader, dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{rpctypes.ErrLeaderChanged, dcs.ErrUnavailable, dcs.ErrUnknownOutcome},
		{rpctypes.ErrTooManyRequests, dcs.ErrUnavailable, dcs.ErrUnavailable},
		{rpctypes.ErrNoSpace, dcs.ErrUnavailable, dcs.ErrUnavailable},
		{rpctypes.ErrLeaseNotFound, dcs.ErrLeaseGone, dcs.ErrLeaseGone},
		{rpctypes.ErrGRPCLeaseNotFound, dcs.ErrLeaseGone, dcs.ErrLeaseGone},
		{rpctypes.ErrCompacted, dcs.ErrCompacted, dcs.ErrCompacted},
		{rpctypes.ErrAuthFailed, dcs.ErrDenied, dcs.ErrDenied},
		{rpctypes.ErrPermissionDenied, dcs.ErrDenied, dcs.ErrDenied},
		{rpctypes.ErrInvalidAuthToken, dcs.ErrDenied, dcs.ErrDenied},
	} {
		k := &KV{options: Options{Endpoints: []string{"127.0.0.1:2379"}}}
		if got := k.read("range", c.err); !errors.Is(got, c.read) {
			t.Errorf("read: %v gives %v, want %v", c.err, got, c.read)
		}
		got := k.write("txn", c.err)
		if !errors.Is(got, c.write) {
			t.Errorf("write: %v gives %v, want %v", c.err, got, c.write)
		}
		if again := k.write("txn", got); again.Error() != got.Error() {
			t.Errorf("explained twice: %v", again)
		}
	}
}
