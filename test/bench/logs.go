//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// keepLogs copies what the nodes have logged to the folder that BENCH_LOGS names, with the moment of the fault in the
// name. The logs are whole: who reads them knows the moment.
func (b *bench) keepLogs(at time.Time, s system) {
	if b.options.logs == "" || s == nil {
		return
	}
	dir := filepath.Join(b.options.logs, at.UTC().Format("20060102T150405.000"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Logf("logs not kept: %v", err)
		return
	}
	for _, m := range s.members() {
		text, err := os.ReadFile(m.logPath())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, m.name()+".log"), text, 0o644)
		}
		if err != nil {
			b.Logf("log of %s not kept: %v", m.name(), err)
		}
	}
	note := fmt.Sprintf("%s %s\n", s.name(), at.Format(time.RFC3339Nano))
	if err := os.WriteFile(filepath.Join(dir, "moment"), []byte(note), 0o644); err != nil {
		b.Logf("logs not kept: %v", err)
	}
}
