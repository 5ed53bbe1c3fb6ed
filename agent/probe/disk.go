package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	// A tablespace is dropped only when the folder of its version is empty, so this one
	// lies beside that, where nothing is copied from.
	tablespaceFile = "pgsql_tmp_pgkeeper_probe"
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
	data, running := d.running()
	if !running {
		return finding{idle: true}
	}
	volume, err := volumeOf(d.path("pg_wal"))
	if err != nil {
		return judge(err)
	}
	if volume == data {
		return finding{idle: true}
	}
	return judge(writeAndSync(d.path(walFile)))
}

// tablespaces does the same in each volume that only tablespaces are on, one after the
// other: one that hangs keeps the others waiting, and the whole of it hangs.
func (d *disk) tablespaces(context.Context) finding {
	data, running := d.running()
	links, err := os.ReadDir(d.path("pg_tblspc"))
	if !running || err != nil { // which the check of the data volume finds
		return finding{idle: true}
	}
	probed := []uint64{data}
	if wal, err := volumeOf(d.path("pg_wal")); err == nil {
		probed = append(probed, wal)
	}
	found := finding{idle: true}
	for _, link := range links {
		location := d.path(filepath.Join("pg_tblspc", link.Name()))
		volume, err := volumeOf(location)
		if err == nil {
			if slices.Contains(probed, volume) {
				continue
			}
			probed = append(probed, volume)
			file := filepath.Join(location, tablespaceFile)
			err = writeAndSync(file)
			_ = os.Remove(file) // PostgreSQL tidies only a level below
		}
		if f := judge(err); !f.idle {
			found = f
		}
		if found.ailment != "" {
			break
		}
	}
	return found
}

// running gives the volume of the data directory while a server runs there. What is
// wrong with that one is for another check.
func (d *disk) running() (volume uint64, is bool) {
	if _, err := os.Stat(d.path("postmaster.pid")); err != nil {
		return 0, false
	}
	volume, err := volumeOf(d.dataDir)
	return volume, err == nil
}

func volumeOf(path string) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return s.Dev, nil
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
