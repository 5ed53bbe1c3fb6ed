// Package config turns Patroni's YAML, the environment over it and the dynamic
// configuration kept in the store into plain values with defaults filled in.
//
// It promises that every problem is reported, all at once, with the file, line,
// value, rule and fix; that a key is either supported, or known and named as not
// built yet, or unknown and listed with the nearest known one; that one table
// (Keys) drives decoding, the names of environment variables and
// docs/configuration.md; that malformed input of any kind is a Problem and never
// a panic; and that no secret appears in a Problem or in Config.Redacted.
//
// It does not promise that what the configuration names exists: it reads the
// configuration and the secret files it names, and looks at no server, no store
// and no binary. Whether two members have one name is found out elsewhere.
package config
