package postgres

import (
	"regexp"
	"strings"
	"sync"
)

// cancelledWaits are the warnings by which PostgreSQL tells the client, and its log, that
// a commit is durable here and may be nowhere else. They have no SQLSTATE of their own.
var cancelledWaits = []string{
	"canceling wait for synchronous replication due to user request",
	"canceling the wait for synchronous replication and terminating connection due to administrator command",
}

// severity finds where a plain line's message begins. What stands before it is
// log_line_prefix, whatever that is; the first one counts, since later ones are text.
var severity = whenUsed(`(?:^|[^A-Z0-9_])(DEBUG[1-5]|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|STATEMENT|DETAIL|HINT|CONTEXT|QUERY|LOCATION|BACKTRACE):  `)

// whenUsed compiles a large expression at its first use: every process of an agent has
// this package in it, and only the worker uses it.
func whenUsed(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// sqlStateBefore is what log_error_verbosity=verbose puts before a message.
var sqlStateBefore = regexp.MustCompile(`^[0-9A-Z]{5}: `)

// isCancelled reports whether a line of the server's log is one of the warnings. A line
// of a statement that merely quotes one is not: in the plain form it is the message of
// another severity or begins with a tab, in the others its quotes are doubled or escaped.
func isCancelled(format, line string) bool {
	if !strings.Contains(line, "cancel") {
		return false
	}
	for _, text := range cancelledWaits {
		switch format {
		case logCSV:
			if strings.Contains(line, `,WARNING,01000,"`+text+`",`) || strings.Contains(line, `,WARNING,57P01,"`+text+`",`) {
				return true
			}
		case logJSON:
			if strings.Contains(line, `"error_severity":"WARNING"`) && strings.Contains(line, `"message":"`+text+`"`) {
				return true
			}
		default:
			if plainCancelled(line, text) {
				return true
			}
		}
	}
	return false
}

func plainCancelled(line, text string) bool {
	if strings.HasPrefix(line, "\t") {
		return false
	}
	at := severity().FindStringSubmatchIndex(line)
	if at == nil || line[at[2]:at[3]] != "WARNING" {
		return false
	}
	message := line[at[1]:]
	return message[len(sqlStateBefore.FindString(message)):] == text
}
