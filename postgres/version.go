package postgres

import (
	"fmt"
	"regexp"
	"strconv"
)

// version is what differs by major version of PostgreSQL. Everything that asks
// "which version" asks this table.
type version struct {
	major int
	// control is pg_control's format number; crcAt is where its checksum lies,
	// which is also how many bytes the checksum covers.
	control uint32
	crcAt   int
	// initSync: recovery_init_sync_method exists. Its value syncfs makes the start
	// after a crash or a clone sync the file system with one call instead of
	// opening every file, which took seconds on a busy disk.
	initSync bool
	// rewindConfig: pg_rewind knows --config-file.
	rewindConfig bool
	// waldumpManagers: pg_waldump takes --rmgr more than once.
	waldumpManagers bool
	// triggerFile: promote_trigger_file exists.
	triggerFile bool
	// idleTimeout: idle_session_timeout exists.
	idleTimeout bool
}

// versions lists the supported major versions, oldest first. The layout of
// pg_control before the checksum is the same from 13 to 17; 18 put one boolean
// (default_char_signedness) behind data_checksum_version.
var versions = []version{
	{major: 13, control: 1300, crcAt: 288, triggerFile: true},
	{major: 14, control: 1300, crcAt: 288, initSync: true, triggerFile: true, idleTimeout: true},
	{major: 15, control: 1300, crcAt: 288, initSync: true, rewindConfig: true, waldumpManagers: true, triggerFile: true, idleTimeout: true},
	{major: 16, control: 1300, crcAt: 288, initSync: true, rewindConfig: true, waldumpManagers: true, idleTimeout: true},
	{major: 17, control: 1300, crcAt: 288, initSync: true, rewindConfig: true, waldumpManagers: true, idleTimeout: true},
	{major: 18, control: 1800, crcAt: 292, initSync: true, rewindConfig: true, waldumpManagers: true, idleTimeout: true},
}

// versionOf finds a major version in the table.
func versionOf(major int) (version, error) {
	for _, v := range versions {
		if v.major == major {
			return v, nil
		}
	}
	return version{}, fmt.Errorf("%w: PostgreSQL %d; supported are %d to %d",
		ErrVersion, major, versions[0].major, versions[len(versions)-1].major)
}

// controlFormat finds the checksum's place for a pg_control format number.
func controlFormat(number uint32) (crcAt int, found bool) {
	for _, v := range versions {
		if v.control == number {
			return v.crcAt, true
		}
	}
	return 0, false
}

// versionText finds "15.4" or "18beta1" in the output of `postgres --version`.
var versionText = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// parseVersion reads the output of `postgres --version` as server_version_num.
func parseVersion(output string) (number int, err error) {
	parts := versionText.FindStringSubmatch(output)
	if parts == nil {
		return 0, fmt.Errorf("%w: %q is not what `postgres --version` prints", ErrVersion, output)
	}
	major, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0, fmt.Errorf("%w: %q: %w", ErrVersion, output, err)
	}
	minor := 0
	if parts[2] != "" {
		if minor, err = strconv.Atoi(parts[2]); err != nil {
			return 0, fmt.Errorf("%w: %q: %w", ErrVersion, output, err)
		}
	}
	return major*10000 + minor, nil
}
