package pgrw_test

import (
	"io"
	"os"
	"testing"
)

// TestTheExamplesRun does what the examples show, where there is a cluster: test/pgrw has
// one, and runs this.
func TestTheExamplesRun(t *testing.T) {
	if clusterDSN == "" {
		t.Skip("no CLUSTER_DSN")
	}
	const want = "[lamp] <nil>\n2 <nil>\n3 <nil>\n4 <nil>\n"
	if got := said(t, func() {
		Example()
		Example_sqlc()
		ExampleMiddleware()
		ExampleDB_SQL()
	}); got != want {
		t.Errorf("they say\n%swant\n%s", got, want)
	}
}

// said is what is written to standard output meanwhile.
func said(t *testing.T, do func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := os.Stdout
	os.Stdout = w
	do()
	os.Stdout = out
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
