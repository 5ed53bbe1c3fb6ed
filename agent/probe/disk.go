package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Where a probe writes. PostgreSQL's own names for temporary files begin like this: it
// removes such files when it starts, and pg_basebackup, pg_rewind, pg_checksums and the
// usual backup programs leave them out, wherever they lie. State that pgkeeper keeps
// beside the data directory would be no measure: a data directory is often a mount point.
const (
	dataFile = "base/pgsql_tmp/pgsql_tmp_pgkeeper_probe"
	walFile  = "pg_wal/pgsql_tmp_pgkeeper_probe"
	// written is enough not to fit where a new page of a table does not.
	written = 64 << 10
)

// disk probes the volumes of one data directory.
type disk struct {
	dataDir string
	// served: a server was seen in it, so that there is something to miss.
	served bool
}

func (d *disk) path(name string) string { return filepath.Join(d.dataDir, name) }

// data writes in the data volume, while a server runs there.
func (d *disk) data(context.Context) finding {
	if _, err := os.Stat(d.path("postmaster.pid")); err != nil {
		if f := judge(err); f.ailment != "" {
			return f
		}
		if _, err := os.Stat(d.path("global/pg_control")); errors.Is(err, fs.ErrNotExist) && d.served {
			return finding{ailment: cluster.AilmentGone, detail: d.dataDir + " has no pg_control any more"}
		}
		return finding{idle: true}
	}
	d.served = true
	if err := os.Mkdir(filepath.Dir(d.path(dataFile)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return judge(err)
	}
	return judge(writeAndSync(d.path(dataFile)))
}

// wal does the same in a WAL volume of its own.
func (d *disk) wal(context.Context) finding {
	var data, wal unix.Stat_t
	if err := unix.Stat(d.dataDir, &data); err != nil {
		return finding{idle: true} // the other check's
	}
	if err := unix.Stat(d.path("pg_wal"), &wal); err != nil {
		return judge(&os.PathError{Op: "stat", Path: d.path("pg_wal"), Err: err})
	}
	if data.Dev == wal.Dev {
		return finding{idle: true}
	}
	if _, err := os.Stat(d.path("postmaster.pid")); err != nil {
		return finding{idle: true}
	}
	return judge(writeAndSync(d.path(walFile)))
}

// writeAndSync takes room anew every time, and gives it back.
func writeAndSync(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Truncate(0), f.Close())
	}()
	if _, err := f.Write(make([]byte, written)); err != nil {
		return err
	}
	return f.Sync()
}

// judge names what a failed write means. What it does not know is no ailment: it may be
// of its own making, such as rights that it lacks.
func judge(err error) finding {
	if err == nil {
		return finding{}
	}
	known := []struct {
		err     error
		ailment cluster.Ailment
	}{
		{syscall.ENOSPC, cluster.AilmentFull},
		{syscall.EDQUOT, cluster.AilmentFull},
		{syscall.EROFS, cluster.AilmentReadOnly},
		{syscall.EIO, cluster.AilmentBroken},
		{syscall.EUCLEAN, cluster.AilmentBroken},
		{syscall.ESHUTDOWN, cluster.AilmentBroken},
		{syscall.ENODEV, cluster.AilmentBroken},
		{syscall.ENXIO, cluster.AilmentBroken},
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return finding{ailment: k.ailment, detail: fmt.Sprint(err)}
		}
	}
	return finding{idle: true}
}
