package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// tell writes a line of the transcript.
func (w *World) tell(n *Node, format string, args ...any) {
	if w.text != nil {
		w.line(n.name, fmt.Sprintf(format, args...))
	}
}

func (w *World) tellAll(format string, args ...any) {
	if w.text != nil {
		w.line("", fmt.Sprintf(format, args...))
	}
}

func (w *World) line(who, what string) {
	w.text = fmt.Appendf(w.text, "%8.3f  %-4s %s\n", float64(w.now)/float64(time.Second), who, what)
}

// storyteller puts what a node's agent logs into the transcript.
type storyteller struct{ n *Node }

// Enabled implements slog.Handler.
func (s storyteller) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (s storyteller) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "member" || a.Value.String() != s.n.name {
			if v := a.Value.String(); v != "" && v != "0" && a.Key != "mode" {
				fmt.Fprintf(&b, " %s=%s", a.Key, v)
			}
		}
		return true
	})
	s.n.w.line(s.n.name, b.String())
	return nil
}

// WithAttrs implements slog.Handler.
func (s storyteller) WithAttrs([]slog.Attr) slog.Handler { return s }

// WithGroup implements slog.Handler.
func (s storyteller) WithGroup(string) slog.Handler { return s }
