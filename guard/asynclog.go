package guard

import (
	"context"
	"log/slog"
)

// asyncHandler keeps the loop from waiting for whoever reads the log: a frozen
// journal or a full pipe must not hold up the deadline. Lines beyond its buffer
// are lost.
type asyncHandler struct {
	slog.Handler
	lines chan line
}

type line struct {
	to  slog.Handler
	rec slog.Record
}

// asyncLog returns a logger that never waits, and a function that gives what was
// logged a chance to be written: it closes its result when the queue has been drained.
func asyncLog(log *slog.Logger) (*slog.Logger, func() <-chan struct{}) {
	h := asyncHandler{Handler: log.Handler(), lines: make(chan line, 256)}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for l := range h.lines {
			if l.to == nil {
				return
			}
			_ = l.to.Handle(context.Background(), l.rec) // nobody is left to tell
		}
	}()
	flush := func() <-chan struct{} {
		select {
		case h.lines <- line{}:
		default:
		}
		return drained
	}
	return slog.New(h), flush
}

func (h asyncHandler) Handle(_ context.Context, r slog.Record) error {
	select {
	case h.lines <- line{h.Handler, r}:
	default:
	}
	return nil
}

func (h asyncHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return asyncHandler{h.Handler.WithAttrs(attrs), h.lines}
}

func (h asyncHandler) WithGroup(name string) slog.Handler {
	return asyncHandler{h.Handler.WithGroup(name), h.lines}
}
