package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner is the OS user of the server.
type owner struct {
	name, home string
	uid, gid   uint32
	groups     []uint32
	// self: it is the user we are, nothing has to be borrowed.
	self bool
}

// lookupOwner finds the OS user that runs the server.
func lookupOwner(name string) (owner, error) {
	root := os.Geteuid() == 0
	if name == "" && !root {
		return currentOwner()
	}
	name = cmp.Or(name, "postgres")
	account, err := user.Lookup(name)
	if err != nil {
		return owner{}, fmt.Errorf("%w: OS user %q: %w: create it or set postgresql.user", ErrOptions, name, err)
	}
	o, err := ownerOf(account)
	if err != nil {
		return owner{}, err
	}
	switch o.self = int(o.uid) == os.Geteuid(); {
	case o.uid == 0:
		return owner{}, fmt.Errorf("%w: PostgreSQL refuses to run as root: set postgresql.user to an ordinary user", ErrOptions)
	case !o.self && !root:
		return owner{}, fmt.Errorf("%w: only root can run the server as %q: start the agent as root or as %q", ErrOptions, name, name)
	}
	return o, nil
}

func currentOwner() (owner, error) {
	o := owner{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), self: true, home: os.Getenv("HOME")}
	o.name = strconv.Itoa(int(o.uid))
	if account, err := user.LookupId(o.name); err == nil {
		o.name = account.Username
	}
	return o, nil
}

func ownerOf(account *user.User) (owner, error) {
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return owner{}, fmt.Errorf("%w: user id of %s: %w", ErrOptions, account.Username, err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return owner{}, fmt.Errorf("%w: group id of %s: %w", ErrOptions, account.Username, err)
	}
	o := owner{name: account.Username, home: account.HomeDir, uid: uint32(uid), gid: uint32(gid)}
	ids, err := account.GroupIds()
	if err != nil {
		return owner{}, fmt.Errorf("%w: groups of %s: %w", ErrOptions, account.Username, err)
	}
	for _, id := range ids {
		if group, err := strconv.ParseUint(id, 10, 32); err == nil {
			o.groups = append(o.groups, uint32(group))
		}
	}
	return o, nil
}

// credential is what a child process needs to become the owner.
func (o owner) credential() *syscall.Credential {
	if o.self {
		return nil
	}
	return &syscall.Credential{Uid: o.uid, Gid: o.gid, Groups: o.groups}
}

// do runs f with the owner's rights on files. It runs on a thread that nobody else uses
// meanwhile, because the rights are a property of the thread; so f must not hand file
// work to other goroutines. A thread that does not get its own rights back ends with f.
func (o owner) do(f func() error) error {
	if o.self {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := o.borrowed(f)
		if returned() {
			runtime.UnlockOSThread() // a thread for every look cost more than the look
		}
		result <- err
	}()
	return <-result
}

// borrowed runs f on a thread that has its own rights, and leaves it with the owner's.
func (o owner) borrowed(f func() error) error {
	if err := unix.Setfsgid(int(o.gid)); err != nil {
		return fmt.Errorf("take the group of %s: %w", o.name, err)
	}
	if err := unix.Setfsuid(int(o.uid)); err != nil {
		return fmt.Errorf("take the user %s: %w", o.name, err)
	}
	// The call reports no failure; asking again tells.
	if now, _ := unix.SetfsuidRetUid(-1); now != int(o.uid) {
		return fmt.Errorf("take the user %s: not permitted", o.name)
	}
	return f()
}

// returned gives the thread its own rights back, and reports whether it has them.
func returned() bool {
	uid, gid := os.Geteuid(), os.Getegid()
	if unix.Setfsuid(uid) != nil || unix.Setfsgid(gid) != nil {
		return false
	}
	// As above; -1 is nobody, and changes nothing.
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	return nowUID == uid && nowGID == gid
}

// ensureDir makes a directory that belongs to the owner. Parents that the owner
// may not create are made by us, and stay ours.
func (o owner) ensureDir(path string, mode fs.FileMode) error {
	err := o.do(func() error { return os.MkdirAll(path, mode) })
	if err == nil || o.self || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	dir, err := os.OpenFile(path, unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Chown(int(o.uid), int(o.gid))
}
