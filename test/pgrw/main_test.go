//go:build integration

package pgrw

import (
	"fmt"
	"os"
	"testing"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testbed.RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
