package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Login is how a client gets into the local server.
type Login struct {
	SocketDir, Port, Username, Password string
	// UID, GID and Groups are the operating system's user of the server.
	UID, GID uint32
	Groups   []uint32
}

// GateLogin is the superuser's: it is the only one that pg_hba.conf surely lets stream
// through the socket.
func (s *Server) GateLogin() Login {
	return Login{SocketDir: s.o.SocketDir, Port: s.port, Username: s.o.Superuser.Username, Password: s.o.Superuser.Password,
		UID: s.owner.uid, GID: s.owner.gid, Groups: s.owner.groups}
}

// gateParameter is the one line that names the gate. It stands below everything else
// that is configured; only the standbys of a synchronous mode, in the file included after
// it, win over it: while a cluster changes between the two, one of them is in force.
const gateParameter = "synchronous_standby_names"

// gateHead introduces it.
const gateHead = "\n# commit gate\n"

// withGate exchanges the name commits wait for in a generated configuration; empty
// takes it out.
func withGate(text, gate string) string {
	text, included := strings.CutSuffix(text, includeSync)
	if at := strings.LastIndex(text, gateHead); at >= 0 {
		text = text[:at]
	}
	var b strings.Builder
	b.WriteString(text)
	if gate != "" {
		b.WriteString(gateHead)
		writeParameter(&b, gateParameter, gate)
	}
	if included {
		b.WriteString(includeSync)
	}
	return b.String()
}

// hasGate reports whether a generated configuration names a gate.
func hasGate(text string) bool { return strings.Contains(text, gateHead) }

// GateTaken returns once commits wait for the gate that the configuration names, which the
// server was told to read: it does not suffice that a new connection shows the name.
func (s *Server) GateTaken(ctx context.Context) error {
	began := s.flag.began()
	rows, err := s.act.query(ctx, "born", "select pg_postmaster_start_time()::text")
	if err == nil && rows[0][0] != nil && s.flag.isOn(*rows[0][0]) { // as nearly always: the server began with a name
		return nil
	}
	return s.checkpointerLearns(ctx, began)
}

// WriteGate writes the name commits wait for into the generated postgresql.conf,
// durably, and changes nothing else. WriteConfig must have written it once. It is for
// a server that does not run: a name that is taken out while it runs releases every
// commit that waits.
func (s *Server) WriteGate(gate string) error {
	err := s.files(func() error {
		content, _, err := readOptional(s.conf(confName))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(content), confHeader) {
			return fmt.Errorf("%w: %s", ErrNotGenerated, s.conf(confName))
		}
		_, err = s.forgetting(hasGate(string(content)) && gate == "", func() (bool, error) {
			return writeChanged(s.conf(confName), withGate(string(content), gate))
		})
		if err != nil {
			return err
		}
		_, err = s.stripAuto(gate != "")
		return err
	})
	if err != nil {
		return fmt.Errorf("write whom commits wait for: %w", err)
	}
	return nil
}

// gateIn reads how commits wait for the gate: the name in force, and whether its client
// is what the server takes for its synchronous standby.
func gateIn(senders []cluster.Walsender, names string) cluster.GateState {
	if !cluster.IsGate(names) {
		return cluster.GateOff
	}
	for _, w := range senders {
		if w.Name == names && w.SyncState == "sync" {
			return cluster.GateConnected
		}
	}
	return cluster.GateMissing
}
