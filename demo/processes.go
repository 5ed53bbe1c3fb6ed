package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ProcessesOf finds every process of a folder: those that work in it (servers and
// their backends do), and those whose command line names it. This process and
// zombies do not count. Where there is no /proc it finds none.
func ProcessesOf(dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && pid != os.Getpid() && Belongs(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Belongs reports whether a process is one of a folder's, as ProcessesOf counts.
func Belongs(pid int, dir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if Zombie(proc) {
		return false
	}
	if cwd, err := os.Readlink(filepath.Join(proc, "cwd")); err == nil && within(cwd, dir) {
		return true
	}
	line, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil {
		return false
	}
	for arg := range bytes.SplitSeq(line, []byte{0}) {
		if within(string(arg), dir) {
			return true
		}
	}
	return false
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// Zombie reports whether the process of a folder of /proc has ended; its parent need
// not have taken notice yet.
func Zombie(proc string) bool {
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return true
	}
	// The name may hold anything, brackets too; the state follows the last one.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// killAll sends SIGKILL to every process of a node, again and again until none
// is left: some may just be starting others. It returns how many there were.
func killAll(dir string, pause func()) int {
	killed := map[int]bool{}
	for range 500 {
		pids := ProcessesOf(dir)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			killed[pid] = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		pause()
	}
	return len(killed)
}
