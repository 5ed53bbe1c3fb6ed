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
	said := map[string]string{}
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		v := a.Value.String()
		said[a.Key] = v
		if v != "" && v != "0" && v != s.n.name {
			fmt.Fprintf(&b, " %s=%s", a.Key, v)
		}
		return true
	})
	what := r.Message + b.String()
	switch r.Message {
	case "decided":
		what = "* " + strings.ReplaceAll(said["reason"], "_", " ")
		if said["detail"] != "" {
			what += ": " + said["detail"]
		}
	case "job started":
		what = said["action"] + " begins"
	case "job done":
		what = said["action"] + " is done"
	case "job failed":
		what = said["action"] + " failed: " + said["error"]
	case "lease taken": // the judge has said so
		return nil
	}
	s.n.w.line(s.n.name, what)
	return nil
}

// WithAttrs implements slog.Handler.
func (s storyteller) WithAttrs([]slog.Attr) slog.Handler { return s }

// WithGroup implements slog.Handler.
func (s storyteller) WithGroup(string) slog.Handler { return s }
