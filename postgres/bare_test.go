package postgres

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// bare is a Server on a scratch directory, without binaries, as the user we are.
func bare(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{o: Options{
		DataDir: filepath.Join(dir, "data"), BinDir: "/bin", Listen: "127.0.0.1:5432", Name: "pg-1", Scope: "demo",
		SocketDir: "/run/x", Now: func() cluster.Instant { return 1 }, Log: slog.New(slog.DiscardHandler),
		Superuser:   Credentials{Username: "postgres", Password: "s"},
		Replication: Credentials{Username: "replicator", Password: "r", SSLMode: "require"},
		Rewind:      Credentials{Username: "rewinder", Password: "w"},
		PgPass:      "/var/lib/pg pass", OSUser: "nobody",
	}}
	if err := s.defaults(); err != nil && s.port == "" {
		t.Fatal(err)
	}
	s.owner = owner{self: true, uid: uint32(os.Geteuid())}
	s.version = versions[2]
	return s
}

// put writes a file below the data directory.
func (s *Server) put(t *testing.T, name, content string) {
	t.Helper()
	path := s.data(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// buried leaves a tombstone, as work that is interrupted does.
func buried(t *testing.T, s *Server, grave Tombstone) {
	t.Helper()
	if err := errors.Join(s.ensureState(), s.bury(grave)); err != nil {
		t.Fatal(err)
	}
}

// bareSystem is the system identifier in controlBytes.
const bareSystem = "7268616322854375442"

// controlBytes makes a pg_control of one format, with set's changes in it.
func controlBytes(format uint32, set func(raw []byte)) []byte {
	raw := make([]byte, 8192)
	order := binary.NativeEndian
	order.PutUint64(raw, 7268616322854375442)
	order.PutUint32(raw[8:], format)
	order.PutUint32(raw[12:], 202209061)
	order.PutUint32(raw[atState:], uint32(cluster.ControlShutdown))
	order.PutUint64(raw[atCheckpoint:], 0x3000148)
	order.PutUint64(raw[atRedo:], 0x3000110)
	order.PutUint32(raw[atTimeline:], 3)
	order.PutUint32(raw[atMaxConnections:], 150)
	order.PutUint32(raw[atXlogBlockSize:], 8192)
	order.PutUint32(raw[atXlogSegSize:], 16<<20)
	order.PutUint32(raw[atChecksums:], 1)
	if set != nil {
		set(raw)
	}
	crcAt, _ := controlFormat(format)
	order.PutUint32(raw[crcAt:], crc32.Checksum(raw[:crcAt], castagnoli))
	return raw
}
