//go:build integration

package integration

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// clustersAtOnce is how many tests run beside each other: most of a test's time
// is spent waiting for a lease to run out.
const clustersAtOnce = "3"

func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["test.parallel"] {
		_ = flag.Set("test.parallel", clustersAtOnce)
	}
	code := m.Run()
	if err := testbed.RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
