package ctl

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"

	"github.com/pgkeeper/pgkeeper/config"
)

// tools are the programs an agent starts.
var tools = []string{"postgres", "initdb", "pg_basebackup", "pg_rewind"}

// CheckMachine finds what a configuration names and this machine does not have:
// programs, a data directory its server's user can use, and addresses that can
// be listened on. It starts nothing and reaches no other machine.
func CheckMachine(c *config.Config) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	checkTools(c, add)
	checkDataDir(c, add)
	checkListen("restapi.listen", c.RESTAPI.Listen, add)
	return problems
}

type adder func(format string, args ...any)

func checkTools(c *config.Config, add adder) {
	for _, tool := range tools {
		name := tool
		if renamed := c.PostgreSQL.BinName[tool]; renamed != "" {
			name = renamed
		}
		if c.PostgreSQL.BinDir == "" {
			if _, err := exec.LookPath(name); err != nil && len(installed(name)) == 0 {
				add("%s: not found on the PATH nor under %s: install PostgreSQL, or set postgresql.bin_dir", name, debianBinaries)
			}
			continue
		}
		if _, err := exec.LookPath(filepath.Join(c.PostgreSQL.BinDir, name)); err != nil {
			add("postgresql.bin_dir: %s has no program %s: %s", c.PostgreSQL.BinDir, name, firstLine(err))
		}
	}
}

// debianBinaries is where distributions keep what they leave off the PATH.
const debianBinaries = "/usr/lib/postgresql/*/bin"

func installed(tool string) []string {
	found, _ := filepath.Glob(filepath.Join(debianBinaries, tool)) // the pattern is well formed
	sort.Strings(found)
	return found
}

func checkDataDir(c *config.Config, add adder) {
	dir := c.PostgreSQL.DataDir
	if dir == "" {
		return // config says so itself
	}
	uid, name, err := serverUser(c)
	if err != nil {
		add("postgresql.user: %s", firstLine(err))
		return
	}
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		add("postgresql.data_dir: %s is no directory", dir)
	case err == nil:
		if owner, ok := ownerOf(info); ok && owner != uid {
			add("postgresql.data_dir: %s belongs to user id %d, but the server runs as %s (%d): chown it", dir, owner, name, uid)
		}
	default:
		checkParent(dir, uid, name, add)
	}
}

// checkParent looks whether the directory can be made. As root it will be made
// and given to the server's user, so only the way there matters.
func checkParent(dir string, uid int, name string, add adder) {
	parent := filepath.Dir(dir)
	for parent != "/" {
		info, err := os.Stat(parent)
		if err == nil && !info.IsDir() {
			add("postgresql.data_dir: %s is no directory, so %s cannot be made", parent, dir)
			return
		}
		if err == nil {
			break
		}
		parent = filepath.Dir(parent)
	}
	if os.Geteuid() == 0 {
		checkTraverse(parent, uid, name, add)
		return
	}
	if err := syscall.Access(parent, 2 /* W_OK */); err != nil {
		add("postgresql.data_dir: %s does not exist and %s cannot be written by user id %d: make the directory, or chown it", dir, parent, os.Geteuid())
	}
}

// checkTraverse names a directory on the way that keeps the server's user out.
func checkTraverse(dir string, uid int, name string, add adder) {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return
		}
		if owner, ok := ownerOf(info); ok && owner != uid && info.Mode().Perm()&0o011 == 0 {
			add("postgresql.data_dir: user %s cannot enter %s (mode %04o): chmod o+x it, or choose another place", name, dir, info.Mode().Perm())
			return
		}
	}
}

func ownerOf(info os.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// serverUser is whom the server runs as: root never is.
func serverUser(c *config.Config) (uid int, name string, err error) {
	name = c.PostgreSQL.User
	if name == "" {
		if os.Geteuid() != 0 {
			return os.Geteuid(), "user id " + strconv.Itoa(os.Geteuid()), nil
		}
		name = "postgres"
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, name, fmt.Errorf("the server's user %s does not exist: create it, or set postgresql.user", name)
	}
	uid, err = strconv.Atoi(u.Uid)
	return uid, name, err
}

func checkListen(key, address string, add adder) {
	if address == "" {
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		add("%s: %q is no address: want host:port", key, address)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		add("%s: port %q is none: want 1 to 65535", key, port)
		return
	}
	if host == "" || host == "*" || host == "0.0.0.0" || host == "::" || host == "localhost" || net.ParseIP(host) == nil {
		return // names are resolved when listening
	}
	if !isLocal(host) {
		add("%s: %s is no address of this machine", key, host)
	}
}

func isLocal(host string) bool {
	want := net.ParseIP(host)
	addresses, err := net.InterfaceAddrs()
	if err != nil || want.IsLoopback() {
		return true
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.Equal(want) {
			return true
		}
	}
	return false
}
