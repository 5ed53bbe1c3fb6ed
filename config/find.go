package config

import (
	"os"
	"path/filepath"
)

// SystemPath is where a package puts the configuration.
const SystemPath = "/etc/pgkeeper/pgkeeper.yml"

// Find says which configuration a command without -d and --api reads: the one
// its -c names, $PGKEEPER_CONFIG, pgkeeper/pgkeeper.yml in the user's config
// directory, SystemPath. What -c or the variable names counts as found without
// a look, so that reading it reports what is wrong.
func Find(flagPath string, env []string) (path string, found bool) {
	vars := parseEnv(env)
	if flagPath != "" {
		return flagPath, true
	}
	if vars["PGKEEPER_CONFIG"] != "" {
		return vars["PGKEEPER_CONFIG"], true
	}
	for _, candidate := range []string{userPath(vars), SystemPath} {
		if _, err := os.Stat(candidate); candidate != "" && err == nil {
			return candidate, true
		}
	}
	return "", false
}

func userPath(vars environ) string {
	if dir := vars["XDG_CONFIG_HOME"]; dir != "" {
		return filepath.Join(dir, "pgkeeper", "pgkeeper.yml")
	}
	if home := vars["HOME"]; home != "" {
		return filepath.Join(home, ".config", "pgkeeper", "pgkeeper.yml")
	}
	return ""
}
