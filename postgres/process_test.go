package postgres

import (
	"strings"
	"testing"
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
