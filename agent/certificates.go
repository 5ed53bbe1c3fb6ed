package agent

import (
	"context"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// certificates has the server read its ssl files again after one has changed, and
// at every reload of the configuration.
type certificates interface {
	ReloadCertificates(ctx context.Context, seen postgres.Certificates, force bool) (now postgres.Certificates, reloaded bool, err error)
}

// certificatesEvery is between two looks at the server's ssl files; certificatesLimit
// bounds one.
const (
	certificatesEvery = 10 * time.Second
	certificatesLimit = 5 * time.Second
)

// keepCertificates looks until ctx ends. A paused server is looked at too: that its
// certificates are read again changes nothing that a pause protects.
func (w *worker) keepCertificates(ctx context.Context, server certificates) {
	var seen postgres.Certificates
	for ctx.Err() == nil {
		timer := clock.Timer(certificatesEvery)
		force := false
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.reloaded:
			force = true
		}
		timer.Stop()
		if status := w.driver.Status(); ctx.Err() != nil || status == nil || !status.Node.Good() || !status.Node.Value.Mode.Running() {
			continue
		}
		seen = w.renewCertificates(ctx, server, seen, force)
	}
}

func (w *worker) renewCertificates(ctx context.Context, server certificates, seen postgres.Certificates, force bool) postgres.Certificates {
	ctx, cancel := context.WithTimeout(ctx, certificatesLimit)
	defer cancel()
	now, reloaded, err := server.ReloadCertificates(ctx, seen, force)
	switch {
	case err != nil && ctx.Err() == nil:
		w.Log.Warn("certificates of the server not reloaded", "member", w.Config.Name, "error", err.Error())
	case reloaded:
		w.Log.Info("certificates of the server reloaded", "member", w.Config.Name)
	}
	return now
}
