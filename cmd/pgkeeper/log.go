package main

import (
	"io"
	"log/slog"
	"strings"

	"github.com/pgkeeper/pgkeeper/config"
)

// newLog makes the logger of a long-running process: text unless log.type says
// json.
func newLog(c config.Log, w io.Writer) *slog.Logger {
	return logger(c.Type, c.Slog(), w)
}

func logger(form string, level slog.Level, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if form == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// parseLevel reads a level as slog writes it; what is none is Info.
func parseLevel(text string) slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(strings.ToUpper(text))) != nil {
		return slog.LevelInfo
	}
	return level
}
