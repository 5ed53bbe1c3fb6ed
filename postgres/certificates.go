package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Certificates are the server's own ssl files as they were last taken.
type Certificates struct {
	// files are stamps by path; nil before the first look.
	files map[string]fileStamp
	// start is the server they were taken by.
	start string
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// sslSQL names the files; the key's command tells that the key has a password,
// which is not ours to check.
const sslSQL = `select current_setting('ssl'), current_setting('ssl_cert_file'), current_setting('ssl_key_file'),
  current_setting('ssl_ca_file'), current_setting('ssl_crl_file'), current_setting('ssl_passphrase_command'),
  pg_postmaster_start_time()::text`

// ReloadCertificates has the running server read its ssl files again when one has
// changed since seen, or in any case with force. A certificate and key that do not
// belong together are left alone with an error, until one of them changes again:
// the server would keep its old ones too, and say so in its log alone.
func (s *Server) ReloadCertificates(ctx context.Context, seen Certificates, force bool) (now Certificates, reloaded bool, err error) {
	rows, err := s.act.query(ctx, "ssl", sslSQL)
	if err != nil {
		return seen, false, fmt.Errorf("ask for the server's ssl files: %w", err)
	}
	r := reader{row: rows[0]}
	var values []string
	for i := range r.row {
		if r.row[i] == nil {
			return seen, false, fmt.Errorf("ask for the server's ssl files: column %d is null", i)
		}
		values = append(values, *r.row[i])
	}
	now.start = values[6]
	if values[0] != "on" {
		return now, false, nil
	}
	files := s.sslPaths(values[1:5])
	if now.files, err = s.stampFiles(files); err != nil {
		return seen, false, err
	}
	// A server that was started since has read them then.
	started := seen.files == nil || seen.start != now.start
	if !force && (started || maps.Equal(seen.files, now.files)) {
		return now, false, nil
	}
	if err := s.checkPair(files[0], files[1], values[5] != ""); err != nil {
		return now, false, err
	}
	return now, true, s.Reload(ctx)
}

// sslPaths are the files that are set; a relative name is in the data directory.
func (s *Server) sslPaths(names []string) []string {
	paths := slices.Clone(names)
	for i, name := range paths {
		if name != "" && !filepath.IsAbs(name) {
			paths[i] = s.data(name)
		}
	}
	return paths
}

func (s *Server) stampFiles(paths []string) (map[string]fileStamp, error) {
	stamps := map[string]fileStamp{}
	err := s.owner.do(func() error {
		for _, path := range paths {
			if path == "" {
				continue
			}
			info, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("look at the server's ssl files: %w", err)
			}
			stamps[path] = fileStamp{info.ModTime(), info.Size()}
		}
		return nil
	})
	return stamps, err
}

func (s *Server) checkPair(cert, key string, hasPassword bool) error {
	return s.owner.do(func() error {
		chain, err := os.ReadFile(cert)
		if err != nil {
			return fmt.Errorf("read ssl_cert_file: %w", err)
		}
		private, err := os.ReadFile(key)
		if err != nil {
			return fmt.Errorf("read ssl_key_file: %w", err)
		}
		if hasPassword || strings.Contains(string(private), "ENCRYPTED") {
			return nil
		}
		if _, err := tls.X509KeyPair(chain, private); err != nil {
			return fmt.Errorf("ssl_cert_file %s and ssl_key_file %s were changed and do not belong together: %w", cert, key, err)
		}
		return nil
	})
}
