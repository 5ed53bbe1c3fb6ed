package config

import (
	"fmt"
	"strings"
)

//go:generate go test -run TestTheConfigurationPageIsInStep -update .

// Page renders docs/configuration.md from the table of keys.
func Page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	section := ""
	for i := range local().keys {
		k := &local().keys[i]
		if isSecretFile(k) {
			continue
		}
		if name := sectionOf(k.Path); name != section {
			section = name
			fmt.Fprintf(&b, "\n### %s\n\n| key | type | default | variable | status | meaning |\n|---|---|---|---|---|---|\n", section)
		}
		b.WriteString(k.row(true))
	}
	b.WriteString(pageDynamic)
	for i := range dynamic().keys {
		b.WriteString(dynamic().keys[i].row(false))
	}
	b.WriteString(pageForced)
	for _, name := range ForcedParameters {
		if floor, ok := floors[name]; ok {
			fmt.Fprintf(&b, "| `%s` | %d | %d |\n", name, floor.fallback, floor.least)
		}
	}
	return b.String()
}

// sectionOf is the heading a key stands under.
func sectionOf(path string) string {
	head, _, deep := strings.Cut(path, ".")
	switch {
	case wholeSection(path):
		return "Not built: other stores, Citus"
	case !deep && head != "tags":
		return "General"
	}
	return head
}

func wholeSection(path string) bool {
	b := local().root.next[path]
	return b != nil && b.key != nil && b.key.Type == Anything
}

func (k *Key) row(withEnv bool) string {
	status := string(k.Status)
	if len(k.Harmful) > 0 {
		status += "; refused: " + strings.Join(k.Harmful, ", ")
	}
	if k.Note != "" {
		status += " (" + k.Note + ")"
	}
	meaning := k.Meaning
	if len(k.Values) > 0 {
		meaning += " One of `" + strings.Join(k.Values, "`, `") + "`."
	}
	if len(k.Forbidden) > 0 {
		meaning += " Not allowed: `" + strings.Join(k.Forbidden, "`, `") + "`."
	}
	if !withEnv {
		return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", k.Path, k.Type, code(k.Default), status, meaning)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", k.Path, k.Type, code(k.Default), code(k.Env), status, meaning)
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

const pageHead = `# Configuration

<!-- Written by "make docs" from config/keys_*.go. Do not edit. -->

pgkeeper reads Patroni's YAML: a patroni.yml is a valid configuration, and the section ` + "`pgkeeper`" + ` adds to it. The file is one YAML document, or a
directory whose *.yml and *.yaml files are merged in alphabetical order (mappings key by key; null removes a key).

- **What stands above what**: flag, then ` + "`PGKEEPER_*`, then `PATRONI_*`" + `, then a secret's ` + "`*_file`" + `, then the file, then the cluster's dynamic configuration, then the default.
- **Variables**: the column shows the name behind ` + "`PGKEEPER_` or `PATRONI_`" + `. Lists and mappings are YAML, with or without their brackets. An empty variable is
  one that is not set. ` + "`PGKEEPER_CONFIGURATION`" + ` holds a whole document where no file is given.
- **Secrets**: beside every key of type *secret text* stands ` + "`<key>_file`" + ` (variable ` + "`<variable>_FILE`" + `), the name of a file that holds it. A newline at its end is dropped.
- **Booleans** are true, false, yes, no, on, off as in YAML 1.1. **Durations** are seconds, or a number with us, ms, s, min, h or d. **Sizes** are bytes, or a number with kB, MB, GB or TB.
- **Server parameters** are a mapping of names to values. A name is letters, digits, _ and dots, and none of ` + "`include`, `include_dir` and `include_if_exists`" + `: it stands in postgresql.conf
  without quotes, and anything else could add lines there that nothing else has checked. Values may be anything.
- **Every key** is *supported*; or *not built yet* (a warning), *refused until built* where ignoring it would weaken safety (an error), of *no effect* here (a warning); or unknown, which
  ` + "`pgkeeper validate`" + ` fails on and the agent warns of. A key written twice is an error. All problems are listed at once, each with file, line, column, value, rule and fix.
- **Relative paths** of certificates and secret files start at the directory the agent is started in.

## A member's file
`

const pageDynamic = `
## The cluster's dynamic configuration

One JSON document in etcd, the same for all members. ` + "`bootstrap.dcs`" + ` is its first version; after that ` + "`pgkeeper edit-config`" + ` and ` + "`PATCH /config`" + ` change it, and members
apply it at once. A bad value never stops a running agent: it keeps its last good one and says why. A worker that starts then goes by the rest, and by its file's ` + "`bootstrap.dcs`" + ` or the default for what is bad.

Timing: ttl must be at least 2, and ttl/5 + min(retry_timeout, ttl/3) + margin less than ttl, where margin is max(0.5, ttl/10). Where loop_wait + 2 x retry_timeout is more than ttl, loop_wait and
then retry_timeout are lowered, with a warning if they were written down.

| key | type | default | status | meaning |
|---|---|---|---|---|
`

const pageForced = `
## Server parameters that come from the cluster alone

These must be equal on all members, so they are given on the server's command line and taken from the dynamic configuration's ` + "`postgresql.parameters`" + `; in a member's file they
have no effect. ` + "`listen_addresses` and `port` come from `postgresql.listen`, `cluster_name` is the scope, `hot_standby` and `wal_log_hints` are on, `wal_level` is replica or logical, `track_commit_timestamp`" + ` is off unless set.

| parameter | default | least |
|---|---|---|
`
