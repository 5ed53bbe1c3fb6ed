package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// openDirectory pins a data directory. A mount may be replaced under its path: the
// inode is what processes sit in.
func openDirectory(path string) (directory, error) {
	if !filepath.IsAbs(path) {
		return directory{}, fmt.Errorf("%w: data directory %q is not an absolute path", ErrBadRequest, path)
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return directory{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d := directory{path: filepath.Clean(path), held: os.NewFile(uintptr(fd), path)}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		d.owner, d.group = st.Uid, st.Gid
		d.dev, d.ino, err = inode(fd, "")
	}
	if err != nil {
		d.close()
		return directory{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return d, nil
}

// inode asks for no synchronisation: the working directory of some unrelated
// process may lie on a network mount whose server is dead.
func inode(dirfd int, path string) (dev, ino uint64, err error) {
	var st unix.Statx_t
	flags := unix.AT_STATX_DONT_SYNC | unix.AT_EMPTY_PATH
	for {
		err = unix.Statx(dirfd, path, flags, unix.STATX_INO, &st)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, err
}

// scan lists the processes, other than this one, whose working directory is dir.
// A zombie has none any more, so it is never listed; by the time the kernel takes
// it away all files and sockets of the process are closed.
func scan(dir directory) (pids []int, err error) {
	asOwner(dir, func() { pids, err = scanHere(dir) })
	return pids, err
}

func scanHere(dir directory) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("look at processes: %w", err)
	}
	defer proc.Close() // opened for reading
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("look at processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		in, err := sitsIn(pid, dir)
		if err != nil {
			return nil, fmt.Errorf("look at the working directory of pid %d: %w", pid, err)
		}
		if in {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// sitsIn is called on a thread that asOwner has prepared.
func sitsIn(pid int, dir directory) (bool, error) {
	proc := "/proc/" + strconv.Itoa(pid)
	dev, ino, err := inode(unix.AT_FDCWD, proc+"/cwd")
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		dev, ino, err = lookHarder(proc, dir, err)
	}
	switch {
	case err == nil:
		return dev == dir.dev && ino == dir.ino, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return false, nil
	}
	return false, err
}

// lookHarder judges a process that may not be looked at. One that does not belong
// to the owner of the data directory is no server process: PostgreSQL refuses to
// run as root, and on a directory of another user. (The kernel shows what is inside
// /proc/<pid> of processes that hide themselves, such as ssh-agent and those of ours
// that hold a password, as root's; the folder itself it shows as their user's. That a
// server is not among them is made sure of when it is started or adopted.)
func lookHarder(proc string, dir directory, denied error) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(proc+"/cwd", &st); err != nil {
		return 0, 0, err
	}
	if st.Uid == 0 || st.Uid != dir.owner {
		return 0, 0, nil // inode 0 is nobody's working directory
	}
	if !borrows(dir) || st.Gid == dir.group || unix.Setfsgid(int(st.Gid)) != nil {
		return 0, 0, fmt.Errorf("%w: the process belongs to %d:%d, the directory to %d:%d", denied, st.Uid, st.Gid, dir.owner, dir.group)
	}
	dev, ino, err = inode(unix.AT_FDCWD, proc+"/cwd")
	if restored := unix.Setfsgid(int(dir.group)); err == nil {
		err = restored
	}
	return dev, ino, err
}

// borrows says whether looking needs the owner's identity.
func borrows(dir directory) bool { return os.Geteuid() == 0 && dir.owner != 0 }

// asOwner calls f with file access of the owner of the data directory. Without
// CAP_SYS_PTRACE, as in most containers, not even root may look at the working
// directory of another user's process.
func asOwner(dir directory, f func()) {
	if !borrows(dir) {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its borrowed identity
		// Refused without CAP_SETUID, which root needs anyway to start the server;
		// what then cannot be seen or written is an error of f.
		_ = unix.Setfsgid(int(dir.group))
		_ = unix.Setfsuid(int(dir.owner))
		f()
	}()
	<-done
}

// kill sends SIGKILL to processes, each only while it sits in dir: the pidfd pins
// it before the last look, so a reused pid is never hit.
func kill(dir directory, pids []int) {
	asOwner(dir, func() {
		for _, pid := range pids {
			killOne(dir, pid)
		}
	})
}

func killOne(dir directory, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // gone
	}
	defer unix.Close(fd)
	if sits, err := sitsIn(pid, dir); err == nil && sits {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // the next look decides
	}
}

// visible makes sure that a server can be found by scan, and so can every process
// it forks: they share its identity.
func visible(pid int, dir directory) (in bool, err error) {
	asOwner(dir, func() { in, err = sitsIn(pid, dir) })
	return in, err
}

// Leftovers lists the processes, other than the caller, whose working directory
// is dataDir. An error means "could not look", never "none".
func Leftovers(dataDir string) ([]int, error) {
	dir, err := openDirectory(dataDir)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	return scan(dir)
}

// KillAll sends SIGKILL to every process whose working directory is dataDir, the
// ones that are parents of others first, until two looks in a row find none. It returns how many it
// killed, and an ErrLeftovers when some are left after timeout. It is for a worker
// whose guard is frozen or gone; it blocks.
func KillAll(dataDir string, timeout time.Duration) (int, error) {
	dir, err := openDirectory(dataDir)
	if err != nil {
		return 0, err
	}
	defer dir.close()
	until := Now() + timeout
	killed := map[int]bool{}
	for clean := 0; ; {
		pids, err := scan(dir)
		if err != nil {
			return len(killed), err
		}
		if clean++; len(pids) > 0 {
			clean = 0
		}
		if clean == 2 {
			return len(killed), nil
		}
		for _, pid := range pids {
			killed[pid] = true
		}
		kill(dir, parentsFirst(pids))
		if len(pids) > 0 && Now() >= until {
			return len(killed), fmt.Errorf("%w: pids %v survive SIGKILL in %s for %v", ErrLeftovers, pids, dir.path, timeout)
		}
		if len(pids) > 0 {
			_, _ = unix.Poll(nil, 1) // 1 ms; a signal only makes it shorter
		}
	}
}

// parentsFirst puts the postmaster before the backends it could replace.
func parentsFirst(pids []int) []int {
	in := map[int]bool{}
	for _, pid := range pids {
		in[pid] = true
	}
	sorted := make([]int, 0, len(pids))
	var rest []int
	for _, pid := range pids {
		if in[Parent(pid)] {
			rest = append(rest, pid)
		} else {
			sorted = append(sorted, pid)
		}
	}
	return append(sorted, rest...)
}
