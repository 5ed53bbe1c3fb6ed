package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// binaryFolders are where distributions put PostgreSQL's binaries, with the
// major version in place of the star.
var binaryFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"}

var errNoBinaries = errors.New("no PostgreSQL server binaries found")

// findBinaries returns the folder of the server's binaries: of the version the
// data directory has, else the newest one installed, else what PATH says.
func findBinaries(dataDir string) (string, error) {
	want := ""
	if content, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION")); err == nil {
		want = strings.TrimSpace(string(content))
	}
	var found []string
	for _, pattern := range binaryFolders {
		folders, _ := filepath.Glob(pattern) // the only error is a bad pattern
		for _, folder := range folders {
			if _, err := os.Stat(filepath.Join(folder, "postgres")); err == nil && (want == "" || versionOf(folder) == want) {
				found = append(found, folder)
			}
		}
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b string) int { return number(versionOf(a)) - number(versionOf(b)) }), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil && want == "" {
		return filepath.Dir(path), nil
	}
	return "", fmt.Errorf("%w%s in %s: install the server or set postgresql.bin_dir", errNoBinaries, ofVersion(want), strings.Join(binaryFolders, ", "))
}

func ofVersion(want string) string {
	if want == "" {
		return ""
	}
	return " of version " + want + ", which the data directory needs,"
}

// versionOf is the major version in a binary folder's path.
func versionOf(folder string) string {
	parent := filepath.Base(filepath.Dir(folder))
	return parent[strings.LastIndexAny(parent, "-@")+1:]
}

func number(version string) int {
	n, _ := strconv.Atoi(version)
	return n
}

// firstOf is the first entry of a comma list, as of unix_socket_directories.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}
