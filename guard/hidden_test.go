package guard

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// runHidden is a process of ours that holds a password: nobody may look into it.
func runHidden() {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("hidden")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// runLooker says what is in a directory.
func runLooker() {
	pids, err := Leftovers(os.Args[1])
	fmt.Println(len(pids), err)
}

func TestAHiddenProcessOfTheSamePlainUserIsNoServer(t *testing.T) {
	dir := t.TempDir()
	var plain *syscall.Credential
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Skip(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		plain = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if dir, err = os.MkdirTemp("", "data"); err != nil { //nolint:usetesting // a test's own folder is its user's alone
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	as := func(role string, args ...string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", args...) // which its user may run wherever it lies
		cmd.Env, cmd.Dir, cmd.SysProcAttr = []string{roleEnv + "=" + role}, "/", &syscall.SysProcAttr{Credential: plain}
		return cmd
	}
	hidden := as("hidden")
	in, err := hidden.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := hidden.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hidden.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = hidden.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "hidden\n" {
		t.Fatal(line, err)
	}
	said, err := as("looker", dir).CombinedOutput()
	if got := strings.TrimSpace(string(said)); err != nil || got != "0 <nil>" {
		t.Errorf("beside a hidden process: %q, %v", got, err)
	}
}
