package agent

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files of the state directory.
const (
	memoryName = "memory.json"
	nodeName   = "node"
)

// loadMemory reads what a reboot must not forget; a missing file is an empty
// memory, an unreadable one an error: forgetting silently would defeat it.
func loadMemory(dir string) (Memory, error) {
	path := filepath.Join(dir, memoryName)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil
	}
	var m Memory
	if err == nil {
		err = json.Unmarshal(content, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read the highest revision seen from %s: %w: restore it, or remove it once no old primary can be running", path, err)
	}
	return m, nil
}

func saveMemory(dir string, m Memory) error {
	content, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(dir, memoryName), append(content, '\n'))
}

// loadNode returns the random id of the state directory, made on first use.
func loadNode(dir string) (string, error) {
	path := filepath.Join(dir, nodeName)
	content, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(content)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the node's id: %w", err)
	}
	id := rand.Text()
	if err := writeDurably(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("keep the node's id: %w", err)
	}
	return id, nil
}

// bootID names this boot of the machine; empty where the kernel does not say.
func bootID() string {
	content, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// writeDurably replaces a file so that after a crash the old or the new content
// is there, whole.
func writeDurably(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
