package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options of struct watchdog_info in linux/watchdog.h.
const (
	canSetTimeout = 0x0080
	canMagicClose = 0x0100
)

// openRealWatchdog opens the device of the settings.
func openRealWatchdog(w Watchdog) (WatchdogDevice, error) {
	if w.Driver != "" && w.Driver != "default" && w.Driver != TestingDriver {
		return nil, fmt.Errorf("watchdog driver %q is not default or testing", w.Driver)
	}
	if w.Driver != TestingDriver && nowayout(w.Device) {
		return nil, fmt.Errorf("watchdog %s cannot be disarmed (nowayout is set): every planned stop would reset the machine; load its module with nowayout=0", w.Device)
	}
	fd, err := unix.Open(w.Device, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, openedNot(w.Device, err)
	}
	file := deviceFile{fd, w.Device}
	if w.Driver == TestingDriver {
		return fakeWatchdog{file}, nil
	}
	d := kernelWatchdog{file}
	if err := d.able(); err != nil {
		return nil, errors.Join(err, d.Disarm())
	}
	return d, nil
}

// openedNot says what to do about a device that cannot be opened.
func openedNot(device string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		hint = ": load the module of this machine's watchdog, or softdog"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		hint = fmt.Sprintf(": let user %d write to it", os.Geteuid())
	case errors.Is(err, unix.EBUSY):
		hint = ": another program holds it"
	}
	return fmt.Errorf("%w%s", &os.PathError{Op: "open the watchdog", Path: device, Err: err}, hint)
}

// nowayout: the kernel would not let it be disarmed. One that does not say so is judged
// by its options alone.
func nowayout(device string) bool {
	name := filepath.Base(device)
	if name == "watchdog" {
		name = "watchdog0"
	}
	b, err := os.ReadFile(filepath.Join("/sys/class/watchdog", name, "nowayout"))
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

// deviceFile is an open device. It is written to without Go's poller: a full FIFO is an
// error and holds up nothing.
type deviceFile struct {
	fd   int
	path string
}

func (d deviceFile) say(s string) error {
	_, err := unix.Write(d.fd, []byte(s))
	return err
}

// Disarm is the magic close: the kernel lets a watchdog go on that was closed without
// the letter.
func (d deviceFile) Disarm() error { return errors.Join(d.say("V"), unix.Close(d.fd)) }

// kernelWatchdog is a device of the kernel's watchdog interface.
type kernelWatchdog struct{ deviceFile }

func (d kernelWatchdog) able() error {
	var info struct {
		options, firmware uint32
		identity          [32]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.WDIOC_GETSUPPORT, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return fmt.Errorf("%s is no watchdog: %w", d.path, errno)
	}
	switch {
	case info.options&canSetTimeout == 0:
		return fmt.Errorf("watchdog %s has a fixed timeout", d.path)
	case info.options&canMagicClose == 0:
		return fmt.Errorf("watchdog %s cannot be disarmed: every planned stop would reset the machine", d.path)
	}
	return nil
}

func (d kernelWatchdog) SetTimeout(seconds int) (int, error) {
	if err := unix.IoctlSetPointerInt(d.fd, unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		return 0, err
	}
	got, err := unix.IoctlGetUint32(d.fd, unix.WDIOC_GETTIMEOUT)
	return int(got), err
}

func (d kernelWatchdog) Feed() error { return unix.IoctlWatchdogKeepalive(d.fd) }

// fakeWatchdog is a file or a FIFO that is told in bytes what a device is told by
// ioctl; Patroni's driver of that name writes the same ones.
type fakeWatchdog struct{ deviceFile }

func (d fakeWatchdog) SetTimeout(seconds int) (int, error) {
	return seconds, d.say(fmt.Sprintf("Ctimeout=%d\n", seconds))
}

func (d fakeWatchdog) Feed() error { return d.say("1") }
