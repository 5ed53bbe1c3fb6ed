package postgres

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBorrowedRightsStayWithNobody works on files as the owner, many times and at once: no
// thread is left that still has the owner's rights.
func TestBorrowedRightsStayWithNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can borrow another user's rights")
		return
	}
	secret := filepath.Join(t.TempDir(), "roots")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	nobody := owner{name: "nobody", uid: 65534, gid: 65534}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				err := nobody.do(func() error {
					if uid, _ := unix.SetfsuidRetUid(-1); uid != 65534 {
						return errors.New("not as the owner")
					}
					_, err := os.ReadFile(secret)
					return err
				})
				if !errors.Is(err, fs.ErrPermission) {
					t.Errorf("as nobody: %v, want a refusal", err)
				}
				uid, _ := unix.SetfsuidRetUid(-1)
				gid, _ := unix.SetfsgidRetGid(-1)
				if _, err := os.ReadFile(secret); err != nil || uid != 0 || gid != os.Getegid() {
					t.Errorf("later, as ourselves (%d:%d): %v", uid, gid, err)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkBorrowedRights is most of what a look at a server costs that runs as another user.
func BenchmarkBorrowedRights(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("only root can borrow another user's rights")
	}
	nobody := owner{name: "nobody", uid: 65534, gid: 65534}
	for b.Loop() {
		if err := nobody.do(func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
