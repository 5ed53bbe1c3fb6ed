package lan

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// The network is one bridge in the test's namespace, which has an address on it,
// and a link to each host.
const (
	Bridge     = "hub"
	Subnet     = prefix + "0/24"
	prefix     = "10.77.0."
	hubAddress = prefix + "1"
)

// hosts have these last numbers of their addresses.
var hosts = map[string]int{"pg1": 11, "pg2": 12, "pg3": 13, "etcd1": 21, "etcd2": 22, "etcd3": 23}

// Address is that of a host.
func Address(name string) string { return fmt.Sprintf("%s%d", prefix, hosts[name]) }

// Host places a node or member for the testbed: its Options.Host.
func Host(name string) testbed.Host {
	return testbed.Host{Address: Address(name), Namespace: filepath.Join("/run/netns", name)}
}

// Make makes bridge, namespaces and links, once in the life of the program.
func Make() error {
	all := []error{
		Command("ip", "link", "add", Bridge, "type", "bridge"),
		Command("ip", "address", "add", hubAddress+"/24", "dev", Bridge),
		Command("ip", "link", "set", Bridge, "up"),
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		all = append(all, makeHost(name))
	}
	all = append(all, noOffload(Bridge))
	return errors.Join(all...)
}

func makeHost(name string) error {
	near, far := Link(name), "far-"+name
	err := errors.Join(Command("ip", "link", "add", near, "type", "veth", "peer", "name", far), noOffload(near), noOffload(far))
	if err != nil {
		return fmt.Errorf("make the network of %s: %w", name, err)
	}
	for _, args := range [][]string{
		{"netns", "add", name},
		{"link", "set", far, "netns", name, "name", "eth0"},
		{"link", "set", near, "master", Bridge},
		{"link", "set", near, "up"},
		{"-n", name, "link", "set", "lo", "up"},
		{"-n", name, "address", "add", Address(name) + "/24", "dev", "eth0"},
		{"-n", name, "link", "set", "eth0", "up"},
	} {
		if err := Command("ip", args...); err != nil {
			return fmt.Errorf("make the network of %s: %w", name, err)
		}
	}
	return nil
}

// Link is the hub's end of a host's link.
func Link(name string) string { return "to-" + name }

// Unplug takes a host off the hub: its own end of the link loses its carrier.
func Unplug(name string) (plug func() error, err error) {
	plug = func() error { return Command("ip", "link", "set", Link(name), "up") }
	return plug, Command("ip", "link", "set", Link(name), "down")
}

// offloads are what a network card does to packets after the kernel: sums of the
// transport layer and segmentation. A relay of frames, as the chaos has, must see finished ones.
const offloads = 0x00000017 // ETHTOOL_STXCSUM: without sums there is no segmentation either

// noOffload makes an interface of this namespace send finished packets only.
func noOffload(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ command, data uint32 }{command: offloads}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.data = unsafe.Pointer(&value)
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); no != 0 {
		return fmt.Errorf("switch off transmit checksums of %s: %w", name, no)
	}
	return nil
}
