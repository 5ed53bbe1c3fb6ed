package chaos

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// delayBy is how much later everything leaves a slow host: its answers take that
// much longer, like `netem delay` on its interface, for kernels that have no netem.
const delayBy = 300 * time.Millisecond

// frame is one packet of the link layer and when it is due at the other end.
type frame struct {
	data []byte
	due  time.Time
}

// relayQueue bounds what is on its way; more is lost, as in any network.
const relayQueue = 4096

// frameMax is the greatest frame: links here have 1500 bytes and segment nothing.
const frameMax = 2048

// delayHost takes a host's link off the hub and puts this program between: a second
// link into the hub, and frames carried from one to the other.
func delayHost(name string) (heal func() error, err error) {
	host, near, far := lan.Link(name), "slow-"+name, "slow2-"+name
	if _, err := net.InterfaceByName(near); err == nil {
		return nothing, nil // it is slow already
	}
	for _, args := range [][]string{
		{"link", "add", near, "type", "veth", "peer", "name", far},
		{"link", "set", far, "master", lan.Bridge},
		{"link", "set", near, "promisc", "on"},
		{"link", "set", host, "promisc", "on"},
		{"link", "set", far, "up"},
		{"link", "set", near, "up"},
		{"link", "set", host, "nomaster"},
	} {
		if err := lan.Command("ip", args...); err != nil {
			return nil, err
		}
	}
	undo := func() error {
		return errors.Join(lan.Command("ip", "link", "delete", near), lan.Command("ip", "link", "set", host, "promisc", "off"),
			lan.Command("ip", "link", "set", host, "master", lan.Bridge))
	}
	stop, err := startRelay(host, near)
	if err != nil {
		return undo, err
	}
	return func() error { stop(); return undo() }, nil
}

// startRelay carries frames of the host to the hub late, and those to it at once.
func startRelay(host, hub string) (stop func(), err error) {
	a, err := openLink(host)
	if err != nil {
		return nil, err
	}
	b, err := openLink(hub)
	if err != nil {
		return nil, errors.Join(err, unix.Close(a))
	}
	ended := make(chan struct{})
	done := make(chan struct{}, 2)
	go func() { carry(a, b, delayBy, ended); done <- struct{}{} }()
	go func() { carry(b, a, 0, ended); done <- struct{}{} }()
	return func() {
		close(ended)
		<-done
		<-done
		_ = unix.Close(a)
		_ = unix.Close(b)
	}, nil
}

// openLink opens an interface for whole frames.
func openLink(name string) (int, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	const everything = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8&0xff // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, everything&0xffff)
	if err != nil {
		return 0, fmt.Errorf("open %s for frames: %w", name, err)
	}
	// Reads wake up now and then to see whether they are still wanted.
	wake := unix.Timeval{Usec: 20_000}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything & 0xffff, Ifindex: i.Index}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
	)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("open %s for frames: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}

// carry moves frames one way until ended.
func carry(from, to int, late time.Duration, ended <-chan struct{}) {
	queue := make(chan frame, relayQueue)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for f := range queue {
			timer := time.NewTimer(time.Until(f.due))
			select {
			case <-timer.C:
				_, _ = unix.Write(to, f.data) // what cannot be sent is lost
			case <-ended:
				timer.Stop()
			}
		}
	}()
	defer func() { close(queue); <-sent }()
	buffer := make([]byte, frameMax)
	for {
		select {
		case <-ended:
			return
		default:
		}
		n, sender, err := unix.Recvfrom(from, buffer, unix.MSG_TRUNC)
		if link, isLink := sender.(*unix.SockaddrLinklayer); err != nil || n > len(buffer) || isLink && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		select {
		case queue <- frame{append([]byte(nil), buffer[:n]...), time.Now().Add(late)}:
		default:
		}
	}
}
