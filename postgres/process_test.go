package postgres

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatAChildSaysIsKeptInPart(t *testing.T) {
	t.Parallel()
	passed := 0
	said := &lines{each: func(string) { passed++ }}
	for range 100 {
		_, _ = said.Write([]byte(strings.Repeat("x", unended/10)))
	}
	if len(said.part) > 2*unended || passed == 0 {
		t.Errorf("of a line without an end %d bytes are kept, in %d parts", len(said.part), passed)
	}
	for range 100 {
		_, _ = said.Write([]byte("the end\n" + strings.Repeat("y", 2*keptLine) + "\n"))
	}
	if got := said.tail(); len(got) > keptLines*(keptLine+10) || !strings.Contains(got, "the end") {
		t.Errorf("an error gets %d bytes of it", len(got))
	}
}

func TestAProgramMayHaveAnotherName(t *testing.T) {
	t.Parallel()
	s := &Server{o: Options{BinDir: "/opt/bin", BinName: map[string]string{"postgres": "edb-postgres"}}}
	if got := s.bin("postgres") + " " + s.bin("initdb"); got != "/opt/bin/edb-postgres /opt/bin/initdb" {
		t.Errorf("the programs are %s", got)
	}
}

// A clone or a rewind takes all it gets, and must not get what the agent was given to be heard on a busy machine.
func TestAChildHasNoneOfTheAgentsPriority(t *testing.T) {
	nice, err := exec.LookPath("nice")
	if err != nil {
		t.Skip(err)
	}
	everyThread := func(value int) {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err == nil {
				err = unix.Setpriority(unix.PRIO_PROCESS, id, value)
			}
			if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
				t.Skipf("needs the right to a higher priority: %v", err)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				t.Fatal(err)
			}
		}
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	everyThread(-5)
	defer everyThread(20 - own)
	if said, err := (&Server{}).run(t.Context(), job{program: "nice", path: nice}); err != nil || strings.TrimSpace(said) != "0" {
		t.Errorf("a child has nice %q (%v), want 0", said, err)
	}
}
