package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Save copies the members' data aside, as a backup would; all must be stopped.
func (e *Etcd) Save(context.Context) error {
	if err := os.CopyFS(e.saved(), os.DirFS(e.dir)); err != nil {
		return fmt.Errorf("save etcd's data: %w", err)
	}
	return nil
}

// Restore puts back what Save copied; all members must be stopped. It is the same
// etcd cluster, set back to an earlier revision.
func (e *Etcd) Restore(context.Context) error {
	for i := range e.Members {
		if err := os.RemoveAll(filepath.Join(e.dir, etcdName(i))); err != nil {
			return fmt.Errorf("remove etcd's data: %w", err)
		}
		if err := os.CopyFS(filepath.Join(e.dir, etcdName(i)), os.DirFS(filepath.Join(e.saved(), etcdName(i)))); err != nil {
			return fmt.Errorf("restore etcd's data: %w", err)
		}
	}
	return nil
}

func (e *Etcd) saved() string { return e.dir + ".saved" }
