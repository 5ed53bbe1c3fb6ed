package config

import (
	"slices"
	"strings"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Type is what a key holds.
type Type string

// The types of keys, by the name a person reads.
const (
	Text     Type = "text"
	Secret   Type = "secret text"
	Command  Type = "command"
	Boolean  Type = "boolean"
	Whole    Type = "whole number"
	Octal    Type = "file mode"
	Duration Type = "duration"
	Size     Type = "size"
	Address  Type = "address"
	Texts    Type = "list of texts"
	Names    Type = "list, or text with commas"
	Options  Type = "list of options"
	Mapping  Type = "mapping of values"
	Server   Type = "server parameters"
	Sections Type = "mapping of mappings"
	Matchers Type = "list of mappings"
	TagSet   Type = "tags"
	Settings Type = "dynamic configuration"
	Anything Type = "anything"
)

// Status is what pgkeeper does with a key.
type Status string

const (
	// Supported keys do what they say.
	Supported Status = "supported"
	// Pending keys are known and not built yet: a warning.
	Pending Status = "not built yet"
	// Refused keys are not built yet, and ignoring them would weaken safety or
	// do something else than was asked: an error.
	Refused Status = "refused until built"
	// Idle keys have nothing to act on in pgkeeper: a warning.
	Idle Status = "no effect"
)

// Key is one row of the table that decoding, the check for unknown keys, the
// names of environment variables and docs/configuration.md come from.
type Key struct {
	// Path is dotted; a segment * stands for any name.
	Path    string
	Type    Type
	Default string
	Meaning string
	Status  Status
	// Note says what to do instead, for every status but Supported.
	Note string
	// Values are the texts allowed; empty means any.
	Values []string
	// Quiet are the values with which a key that is not Supported changes
	// nothing, so that they are accepted in silence.
	Quiet []string
	// Harmful are the values of a Pending key that are refused.
	Harmful []string
	// Forbidden are options pgkeeper sets itself.
	Forbidden []string
	// Env is the variable without its prefix; empty where there is none.
	Env string

	into func(*draft) any
}

// draft is a configuration in the making. The fields beside Config are what the
// file says before it is boiled down to one form.
type draft struct {
	Config
	settings cluster.Settings
	store    storeDraft
}

// storeDraft holds the ways to name the store's members.
type storeDraft struct {
	host, url, proxy, srv, srvSuffix string
	hosts                            []string
}

// envNames are the sections whose variables Patroni does not name after the path.
var envNames = []struct{ path, env string }{
	{"postgresql.authentication.", ""},
	{"postgresql.bin_name.", "postgresql_bin_"},
	{"restapi.authentication.", "restapi_"},
	{"ctl.authentication.", "ctl_"},
	{"pgkeeper.", ""},
}

// envName is the variable for a path, without PGKEEPER_ or PATRONI_.
func envName(path string) string {
	for _, special := range envNames {
		if rest, ok := strings.CutPrefix(path, special.path); ok {
			path = special.env + rest
			break
		}
	}
	return strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// table is the keys of one document, and the tree of their segments.
type table struct {
	keys []Key
	root *branch
}

type branch struct {
	key  *Key
	next map[string]*branch
}

func newTable(keys []Key) *table {
	t := &table{keys: keys, root: &branch{next: map[string]*branch{}}}
	for i := range t.keys {
		b := t.root
		for segment := range strings.SplitSeq(t.keys[i].Path, ".") {
			if b.next[segment] == nil {
				b.next[segment] = &branch{next: map[string]*branch{}}
			}
			b = b.next[segment]
		}
		b.key = &t.keys[i]
	}
	return t
}

// step goes one segment down; nil where nothing of that name is known.
func (b *branch) step(segment string) *branch {
	if next := b.next[segment]; next != nil {
		return next
	}
	return b.next["*"]
}

// names are the segments known below a branch, sorted.
func (b *branch) names() []string {
	var out []string
	for name := range b.next {
		if name != "*" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// local and dynamic are the two documents: a member's file, and the cluster's
// configuration in the store (bootstrap.dcs has its shape). They are made when they are
// asked for: most processes of an agent read no configuration.
var (
	local   = sync.OnceValue(func() *table { return newTable(localKeys()) })
	dynamic = sync.OnceValue(func() *table { return newTable(dynamicKeys()) })
)

// Keys are all keys of a member's file, in the order of the documentation;
// DynamicKeys those of the configuration in the store.
func Keys() []Key { return slices.Clone(local().keys) }

// DynamicKeys are the keys of the configuration in the store.
func DynamicKeys() []Key { return slices.Clone(dynamic().keys) }

func localKeys() []Key {
	keys := slices.Concat(generalKeys(), restKeys(), etcdKeys(), bootstrapKeys(), postgresqlKeys(), keeperKeys(), poolerKeys(), foreignKeys())
	out := make([]Key, 0, len(keys))
	for _, k := range keys {
		if k.Status == "" {
			k.Status = Supported
		}
		if k.Type != Settings && k.Type != Anything && !strings.Contains(k.Path, "*") {
			k.Env = envName(k.Path)
		}
		out = append(out, k)
		if k.Type == Secret {
			out = append(out, secretFile(k))
		}
	}
	return out
}

// secretFile is the key that names the file a secret is read from.
func secretFile(k Key) Key {
	last := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
	return Key{
		Path: k.Path + "_file", Type: Text, Status: k.Status, Note: k.Note, Env: k.Env + "_FILE",
		Meaning: "File to read `" + last + "` from; stands above `" + last + "` in the file and below the environment.",
	}
}
