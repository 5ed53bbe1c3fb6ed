//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
)

// twoAddresses are free now, and stay so while their server is down.
func twoAddresses() (one, two string, err error) {
	ports, err := freeport.Find(2)
	if err != nil {
		return "", "", err
	}
	loopback := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	return loopback(ports[0]), loopback(ports[1]), nil
}

// signalAll signals every process that works in a folder or names it, and says how many there were.
func signalAll(dir string, s syscall.Signal) int {
	n := 0
	for _, pid := range processesIn(dir) {
		if syscall.Kill(pid, s) == nil {
			n++
		}
	}
	return n
}

func processesIn(dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		proc := filepath.Join("/proc", e.Name())
		stat, err := os.ReadFile(proc + "/stat")
		if err != nil || bytes.HasPrefix(bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:]), []byte("Z")) {
			continue
		}
		cwd, _ := os.Readlink(proc + "/cwd")      // it may have ended
		line, _ := os.ReadFile(proc + "/cmdline") // likewise
		if cwd == dir || strings.HasPrefix(cwd, dir+"/") || bytes.Contains(line, []byte(dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// postmasterOf reads a data directory's pid file.
func postmasterOf(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0, fmt.Errorf("read %s/postmaster.pid: %w", data, err)
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != data {
		return 0, fmt.Errorf("process %d is not the server of %s", pid, data)
	}
	return pid, nil
}

// pss is the memory of processes in bytes, with each shared page counted in parts.
func pss(pids []int) (total int64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, err
				}
				total += kb << 10
			}
		}
	}
	return total, nil
}

// cpu is the time that processes have used, their ended children's included, at the kernel's 10 ms.
func cpu(pids []int) (total time.Duration, err error) {
	const ticks, first, last = 100, 11, 14 // utime, stime, cutime, cstime after the name
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[first : last+1] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, err
			}
			total += time.Duration(n) * time.Second / ticks
		}
	}
	return total, nil
}

// loadAverage is the machine's over one minute; 0 when it cannot be read.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}
