package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// mostAttempts bounds how often one request is sent.
const mostAttempts = 8

// outcome is what one attempt came back with.
type outcome[T any] struct {
	value T
	err   error
}

// resend runs try, which must be harmless to repeat, and runs it again beside the
// first when no answer came within after, or at once when an attempt broke. The
// balancer gives each attempt the next member. The first answer that settles the
// matter wins; when none does, an unknown outcome among them is what is reported.
func resend[T any](ctx context.Context, after time.Duration, try func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan outcome[T], mostAttempts)
	send := func() {
		value, err := try(ctx)
		answers <- outcome[T]{value, err}
	}
	var worst error
	for sent, open := 0, 0; ; {
		if sent < mostAttempts {
			sent, open = sent+1, open+1
			go send()
		}
		answer, came := next(ctx, answers, after, sent == mostAttempts)
		switch {
		case !came && ctx.Err() != nil:
			return answer.value, lost(worst, ctx.Err())
		case !came:
			continue
		case settles(answer.err):
			return answer.value, answer.err
		}
		open--
		if worst == nil || errors.Is(answer.err, dcs.ErrUnknownOutcome) {
			worst = answer.err
		}
		if sent == mostAttempts && open == 0 {
			return answer.value, worst
		}
	}
}

// next waits for an answer, for at most after unless all attempts are out.
func next[A any](ctx context.Context, answers <-chan A, after time.Duration, last bool) (answer A, came bool) {
	timer, cancel := ctx, context.CancelFunc(func() {})
	if !last {
		timer, cancel = context.WithTimeout(ctx, after)
	}
	defer cancel()
	select {
	case answer = <-answers:
		return answer, true
	case <-timer.Done():
		return answer, false
	}
}

// settles reports whether asking another member could not help.
func settles(err error) bool {
	return err == nil || (!errors.Is(err, dcs.ErrUnavailable) && !errors.Is(err, dcs.ErrUnknownOutcome))
}

// lost is the end of a request whose context ran out with attempts under way.
// What earlier attempts said is only told, not wrapped: one that was refused says
// nothing about one that was sent.
func lost(worst, cause error) error {
	if worst != nil {
		return fmt.Errorf("%w (before: %v)", cause, worst) //nolint:errorlint // told, not wrapped
	}
	return cause
}
