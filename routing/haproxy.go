package routing

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// HAProxy is the runtime socket of one HAProxy. A call opens a connection of its own, as
// the socket wants it.
type HAProxy struct {
	// Socket is a path, or host:port.
	Socket string
	// Backend is the backend of writes; its servers are named as the members.
	Backend string
	// Reads is the backend of the standbys, named likewise; empty where there is none.
	Reads string
}

// socketLimit bounds one call; HAProxy answers within a millisecond or two.
const socketLimit = 2 * time.Second

// answerMost bounds an answer: a thousand servers stay far below.
const answerMost = 4 << 20

// ErrSocket wraps what goes wrong with the runtime socket.
var ErrSocket = errors.New("haproxy's runtime socket")

// call sends commands in one line, so that HAProxy carries them out one after the other
// without anything between them, and returns what it answered.
func (h HAProxy) call(ctx context.Context, commands ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, socketLimit)
	defer cancel()
	network := "unix"
	if !strings.HasPrefix(h.Socket, "/") {
		network = "tcp"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, h.Socket)
	if err != nil {
		return "", fmt.Errorf("%w %s: %w", ErrSocket, h.Socket, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, strings.Join(commands, "; ")+"\n"); err != nil {
		return "", fmt.Errorf("%w %s: %w", ErrSocket, h.Socket, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, answerMost))
	if err != nil {
		return "", fmt.Errorf("%w %s: %w", ErrSocket, h.Socket, err)
	}
	text := string(answer)
	if strings.Contains(text, "Permission denied") {
		return "", fmt.Errorf("%w %s takes no commands: give its stats socket line `level admin`", ErrSocket, h.Socket)
	}
	return text, nil
}

// word is what a name may look like without meaning anything else to HAProxy.
var word = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)

// Flip sends writes to the leader and takes them from all others, whose sessions end by
// that; with no leader it takes them from all. The health of the others goes first: at no
// time are two up. The leader is no standby any more: it leaves the backend of reads at the
// same moment, and not when a check finds it, which would cut once more who came back
// meanwhile. Servers of writes that HAProxy does not have are returned.
func (h HAProxy) Flip(ctx context.Context, leader string, others []string) (unknown []string, err error) {
	var names, commands []string
	set := func(name, health string) {
		if word.MatchString(name) {
			names = append(names, name)
			commands = append(commands, "set server "+h.Backend+"/"+name+" health "+health)
		} else {
			unknown = append(unknown, name)
		}
	}
	for _, name := range others {
		set(name, "down")
	}
	if leader != "" {
		set(leader, "up")
	}
	if h.Reads != "" && word.MatchString(leader) { // last: what is answered to it is not read
		commands = append(commands, "set server "+h.Reads+"/"+leader+" health down")
	}
	if len(commands) == 0 {
		return unknown, nil
	}
	answer, err := h.call(ctx, commands...)
	if err != nil {
		return unknown, err
	}
	return append(unknown, h.refused(names, answer)...), nil
}

// refused finds the servers of a line of commands that HAProxy does not have: it answers
// each command with a line, empty when it did as told, and a further empty one after text.
func (h HAProxy) refused(names []string, answer string) (unknown []string) {
	lines := strings.Split(answer, "\n")
	for _, name := range names {
		if len(lines) == 0 {
			return unknown
		}
		if strings.TrimSpace(lines[0]) != "" {
			unknown = append(unknown, name)
			if len(lines) > 1 && strings.TrimSpace(lines[1]) == "" {
				lines = lines[1:]
			}
		}
		lines = lines[1:]
	}
	return unknown
}

// Process tells one run of HAProxy from the next.
func (h HAProxy) Process(ctx context.Context) (pid int, err error) {
	answer, err := h.call(ctx, "show info")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(answer) {
		if value, found := strings.CutPrefix(line, "Pid: "); found {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("%w %s: it does not say its process id", ErrSocket, h.Socket)
}

// ServerState is how HAProxy sees one server.
type ServerState struct {
	Up bool
	// Check is what its last health check said, in HAProxy's letters: L7OK, L7STS (another
	// status), L4CON, ...
	Check string
}

// Servers lists the servers of the backend. A backend that HAProxy does not have is an
// error.
func (h HAProxy) Servers(ctx context.Context) (map[string]ServerState, error) {
	answer, err := h.call(ctx, "show stat "+h.Backend+" 4 -1")
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(strings.TrimSpace(answer), "# "))).ReadAll()
	if err != nil || len(rows) < 1 || len(rows[0]) < 2 {
		return nil, fmt.Errorf("%w %s has no backend %s: name it with --backend, or write it into HAProxy's configuration", ErrSocket, h.Socket, h.Backend)
	}
	status, check := slices.Index(rows[0], "status"), slices.Index(rows[0], "check_status")
	if status < 0 || check < 0 {
		return nil, fmt.Errorf("%w %s: its statistics lack status or check_status", ErrSocket, h.Socket)
	}
	servers := map[string]ServerState{}
	for _, row := range rows[1:] {
		servers[row[1]] = ServerState{strings.HasPrefix(row[status], "UP"), strings.TrimPrefix(row[check], "* ")}
	}
	return servers, nil
}

// others are the members of t that are not its leader.
func others(t cluster.Topology) (names []string) {
	for _, m := range t.Members {
		if t.Leader == nil || m.Name != t.Leader.Name {
			names = append(names, m.Name)
		}
	}
	return names
}
