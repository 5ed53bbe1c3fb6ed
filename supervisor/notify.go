package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifyEnv names the pipe on which the worker tells the supervisor how it is.
const notifyEnv = "PGKEEPER_NOTIFY_FD"

// NotifyReady tells the service manager, through the supervisor, that the agent is
// up, or that a reload has ended. Without a supervisor it does nothing.
func NotifyReady() error { return tell("READY=1") }

// NotifyStatus gives the service manager one line to show. Without a supervisor it
// does nothing.
func NotifyStatus(text string) error {
	return tell("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

func tell(line string) error {
	fd, ok := notifyFD()
	if !ok {
		return nil
	}
	if _, err := unix.Write(fd, []byte(line+"\n")); err != nil {
		return fmt.Errorf("tell the supervisor %s: %w", line, err)
	}
	return nil
}

func notifyFD() (int, bool) {
	fd, err := strconv.Atoi(os.Getenv(notifyEnv))
	return fd, err == nil && fd > 2
}

// listen passes the worker's lines on until it has ended.
func listen(pipe io.ReadCloser, lines chan<- string, done <-chan struct{}) {
	defer pipe.Close()
	in := bufio.NewScanner(io.LimitReader(pipe, 1<<20))
	in.Buffer(make([]byte, 0, 256), 4096)
	for in.Scan() {
		line := in.Text()
		if line != "READY=1" && !strings.HasPrefix(line, "STATUS=") {
			continue
		}
		select {
		case lines <- line:
		case <-done:
			return
		}
	}
}

// systemd speaks sd_notify. Its zero value says nothing.
type systemd struct {
	socket string
	every  time.Duration // watchdog interval, halved; 0 when there is none
}

// fromSystemd reads the environment. It stays there for an upgrade's new image.
func fromSystemd() systemd {
	s := systemd{socket: os.Getenv("NOTIFY_SOCKET")}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.every = time.Duration(usec) * time.Microsecond / 2
	}
	return s
}

// say sends one datagram, and never waits for a service manager that does not
// read: then the error wraps EAGAIN.
func (s systemd) say(state string) error {
	if s.socket == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer unix.Close(fd)
	// A name that begins with @ is abstract; the system call package knows that.
	if err := unix.Sendto(fd, []byte(state), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: s.socket}); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// reloading is what the service manager wants to hear before a reload.
func reloading() string {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000)
}

// guardEnv is the environment of the guard, without what configures the agent or a
// client of PostgreSQL: it reads no configuration, it lives longest, and passwords may be
// among it. The worker has them, since it reads its configuration from there.
func guardEnv() []string {
	return slices.DeleteFunc(childEnv(), func(kv string) bool {
		return strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "PATRONI_")
	})
}

// childEnv is our environment without what is meant for the main process alone.
func childEnv(extra ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", notifyEnv, upgradeEnv:
			continue
		}
		env = append(env, kv)
	}
	return append(env, extra...)
}
