package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgkeeper/pgkeeper/config"
)

// nameFile holds the member's name in the state directory.
const nameFile = "name"

// fillFromContainer finds what a container's configuration leaves out because it
// is the same for all containers: the member's name, and the addresses at which
// others reach it. It becomes part of the environment, for the worker too.
func (a *app) fillFromContainer(path string) error {
	c, _, err := config.LoadClient(path, a.env)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var found []string
	if c.Name == "" {
		name, err := keptName(c.Keeper.StateDir)
		if err != nil {
			return err
		}
		found = append(found, "PGKEEPER_NAME="+name)
	}
	for _, way := range []struct{ variable, listen, connect string }{
		{"PGKEEPER_RESTAPI_CONNECT_ADDRESS", c.RESTAPI.Listen, c.RESTAPI.ConnectAddress},
		{"PGKEEPER_POSTGRESQL_CONNECT_ADDRESS", c.PostgreSQL.Listen, c.PostgreSQL.ConnectAddress},
	} {
		if way.connect != "" || !everywhere(way.listen) {
			continue
		}
		host, err := ownAddress(c.Etcd.Hosts)
		if err != nil {
			return err
		}
		_, port, err := net.SplitHostPort(way.listen)
		if err != nil {
			return fmt.Errorf("--container: %q is no address: want host:port", way.listen)
		}
		found = append(found, way.variable+"="+net.JoinHostPort(host, port))
	}
	for _, entry := range found {
		key, value, _ := strings.Cut(entry, "=")
		if err := os.Setenv(key, value); err != nil {
			return fmt.Errorf("--container: %w", err)
		}
	}
	a.env = append(a.env, found...)
	return nil
}

// everywhere reports whether an address to listen on names no address of its own.
func everywhere(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "" || host == "*" || ip != nil && ip.IsUnspecified())
}

// keptName is the name in the state directory, else the host's, which is then
// kept there: a container that is made anew has another host name, and its data
// belongs to the member of before.
func keptName(stateDir string) (string, error) {
	if stateDir == "" {
		return "", errors.New("--container: the name is kept in the state directory, and there is none: set postgresql.data_dir")
	}
	file := filepath.Join(stateDir, nameFile)
	text, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(text)) != "" {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--container: read the member's name: %w", err)
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("--container: %w", err)
	}
	return name, keepName(stateDir, file, name)
}

// keepName writes the name so that a power cut leaves all of it or nothing.
func keepName(stateDir, file, name string) error {
	fail := func(err error) error { return fmt.Errorf("--container: keep the member's name: %w", err) }
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(stateDir, nameFile+".*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(name + "\n")
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fail(err)
	}
	dir, err := os.Open(stateDir)
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fail(err)
	}
	return nil
}

// ownAddress is the address this host has on the way to etcd, else its first one
// that is not loopback: a container may be in several networks.
func ownAddress(etcd []string) (string, error) {
	for _, host := range etcd {
		conn, err := net.Dial("udp", host) // sends nothing: the kernel chooses the way
		if err != nil {
			continue
		}
		local, ok := conn.LocalAddr().(*net.UDPAddr)
		_ = conn.Close()
		if ok && !local.IP.IsLoopback() {
			return local.IP.String(), nil
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("--container: find this host's address: %w", err)
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return network.IP.String(), nil
		}
	}
	return "", errors.New("--container: this host has no address that others could reach: set restapi.connect_address and postgresql.connect_address")
}
