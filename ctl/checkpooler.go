package ctl

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/pgkeeper/pgkeeper/config"
)

// CheckPooler finds that the agent could not replace the file of databases of the PgBouncer it drives: it makes a new one
// beside the old. For root, whose agent could, it answers for the server's user, as whom the shipped unit runs the agent.
func CheckPooler(c *config.Config) []Finding {
	file := c.PgBouncer.DatabasesFile
	if c.PgBouncer.Admin == "" || !filepath.IsAbs(file) {
		return nil // config says so itself
	}
	uid, name, err := serverUser(c)
	if err != nil {
		return nil // as does checkDataDir
	}
	if err = mayMakeFiles(filepath.Dir(file), uid); err == nil {
		return nil
	}
	found := Finding{SeverityError, "pooler_file", "poolers.pgbouncer.databases_file", fmt.Sprintf("an agent of %s cannot put a new file in the place of %s: %s", name, file, firstLine(err)),
		"name a file in a directory of the agent's user: install -d -o postgres -g postgres /var/lib/pgkeeper; docs/pgbouncer.md"}
	if os.Geteuid() == 0 {
		found.Severity = SeverityWarning
	}
	return []Finding{found}
}

// mayMakeFiles tells why a user may not make files in a directory: this process's own by asking, another by its mode.
func mayMakeFiles(dir string, uid int) error {
	if uid == os.Geteuid() {
		if err := syscall.Access(dir, 0o3 /* W_OK and X_OK */); err != nil {
			return &fs.PathError{Op: "write to", Path: dir, Err: err}
		}
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	bits := info.Mode().Perm() & 0o007
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case int(stat.Uid) == uid:
			bits = info.Mode().Perm() >> 6 & 0o007
		case inGroup(uid, stat.Gid):
			bits = info.Mode().Perm() >> 3 & 0o007
		}
	}
	if bits&0o003 != 0o003 {
		return &fs.PathError{Op: "write to", Path: dir, Err: fs.ErrPermission}
	}
	return nil
}

func inGroup(uid int, gid uint32) bool {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return false
	}
	groups, _ := u.GroupIds() // none is what cannot be looked up
	return slices.Contains(groups, strconv.Itoa(int(gid)))
}
