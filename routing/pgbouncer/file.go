package pgbouncer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Options is how one PgBouncer is driven.
type Options struct {
	// Admin is how its console is reached: a DSN of the database pgbouncer, with a user
	// of admin_users.
	Admin string
	// File is the file of databases that pgbouncer.ini includes.
	File string
	// Databases are each served twice: under their own name by the primary, and with
	// ReadSuffix by the replicas.
	Databases  []string
	ReadSuffix string
	// MaxLag is how many bytes behind the primary a replica may be to be read from;
	// 0 for no limit.
	MaxLag int64
	// Parameters follow in every line, "pool_size=20 auth_user=lookup".
	Parameters string
}

// render is the file. Without any replica its readers go to the primary.
func (o Options) render(member string, w want) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "; Written by the pgkeeper agent of %s, whenever the primary or the replicas change.\n; Edit poolers.pgbouncer in its configuration instead.\n[databases]\n", member)
	line := func(name, dbname string, hosts []string, port string) {
		fmt.Fprintf(&b, "%s = host=%s port=%s dbname=%s", name, strings.Join(hosts, ","), port, dbname)
		if o.Parameters != "" {
			b.WriteString(" " + o.Parameters)
		}
		b.WriteByte('\n')
	}
	readers := w.replicas
	if len(readers) == 0 {
		readers = []server{w.primary}
	}
	hosts, port := balanced(readers)
	for _, name := range o.Databases {
		line(name, name, []string{w.primary.host}, w.primary.port)
		line(name+o.ReadSuffix, name, hosts, port)
	}
	return b.Bytes()
}

// replaceFile puts content in the place of a file, as a whole and durably. The new file
// has the owner and the permissions of the one before, or is readable by all.
func replaceFile(path string, content []byte) error {
	mode, uid, gid := fs.FileMode(0o644), -1, -1
	before, err := os.Stat(path)
	switch {
	case err == nil:
		mode = before.Mode().Perm()
		if owner, ok := before.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(owner.Uid), int(owner.Gid)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(next.Name()) }() // gone already when all went well
	_, err = next.Write(content)
	err = errors.Join(err, next.Chmod(mode))
	if uid >= 0 && os.Geteuid() == 0 {
		err = errors.Join(err, next.Chown(uid, gid))
	}
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}
