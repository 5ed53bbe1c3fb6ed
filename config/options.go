package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// options reads a list of `name` and `name: value`, or one mapping of them, as
// arguments of a program: "--name", "--name=value".
func (k *Key) options(n *node) ([]string, []fault) {
	if n.shape != shapeList && n.shape != shapeDict {
		return nil, []fault{{at: n, rule: "must be a list of options, not " + n.shape.String(), fix: `write one "- name: value" or "- name" per line`}}
	}
	var out []string
	var faults []fault
	add := func(name string, value *node) {
		arg, bad := k.option(name, value)
		faults = append(faults, bad...)
		if arg != "" {
			out = append(out, arg)
		}
	}
	for _, e := range n.entries {
		add(e.key, e.value)
	}
	for _, item := range n.items {
		switch {
		case item.shape == shapeDict && len(item.entries) == 1:
			add(item.entries[0].key, item.entries[0].value)
		case item.shape == shapeText:
			add(item.text, item)
		default:
			faults = append(faults, fault{at: item, rule: "must be one option, not " + item.shape.String(), fix: `write "- name: value" or "- name"`})
		}
	}
	return out, faults
}

// option makes one argument; value is the name's own node for a bare name.
func (k *Key) option(name string, value *node) (string, []fault) {
	arg := strings.TrimLeft(name, "-")
	bare, _, _ := strings.Cut(arg, "=")
	switch {
	case bare == "" || strings.ContainsAny(bare, " \t\n\x00"):
		return "", []fault{{at: value, key: name, rule: "is no name of an option", fix: `write "- name: value" or "- name"`}}
	case slices.Contains(k.Forbidden, bare):
		return "", []fault{{at: value, key: name, rule: "is an option pgkeeper sets itself", fix: "remove it"}}
	case !value.scalar() || strings.ContainsRune(value.text, 0):
		return "", []fault{{at: value, key: name, rule: "must be one value, not " + value.shape.String()}}
	case value.shape == shapeBool && !value.truth:
		return "", nil
	case value.text == name || value.shape == shapeBool || value.shape == shapeNull:
		return "--" + arg, nil
	}
	return "--" + arg + "=" + value.text, nil
}

// The tags Patroni gives a meaning to, by their type.
var (
	booleanTags = []string{"nofailover", "noloadbalance", "clonefrom", "nosync", "nostream"}
	numberTags  = []string{"failover_priority", "sync_priority"}
)

func tags(n *node) (cluster.Tags, []fault) {
	if n.shape != shapeDict {
		return nil, wanted(n, "a mapping of tags")
	}
	out := cluster.Tags{}
	var faults []fault
	for _, e := range n.entries {
		if e.value.shape == shapeNull {
			continue
		}
		value, bad := tag(e.key, e.value)
		for i := range bad {
			bad[i].key = e.key
		}
		faults = append(faults, bad...)
		if len(bad) == 0 {
			out[e.key] = value
		}
	}
	dropFalse(out)
	return out, faults
}

// dropFalse leaves out what says nothing, as Patroni does: its own tags that are false, of which its sample configuration has
// four. One beside the number that it stands above says something.
func dropFalse(tags cluster.Tags) {
	stands := func(number string) bool { _, set := tags[number]; return set }
	maps.DeleteFunc(tags, func(tag string, value any) bool {
		return value == false && slices.Contains(booleanTags, tag) &&
			!(tag == "nofailover" && stands("failover_priority") || tag == "nosync" && stands("sync_priority"))
	})
}

func tag(name string, n *node) (any, []fault) {
	switch {
	case !n.scalar():
		return nil, []fault{{at: n, rule: "must be a boolean, a number or a text, not " + n.shape.String()}}
	case slices.Contains(booleanTags, name):
		return truth(n)
	case slices.Contains(numberTags, name):
		if n.shape == shapeInt {
			if v, err := n.whole(); err == nil && v >= -1<<31 && v < 1<<31 {
				return int(v), nil
			}
		}
		return nil, []fault{{at: n, rule: "must be a whole number, not " + n.shape.String()}}
	case name == "replicatefrom" && n.shape != shapeText && n.shape != shapeInt:
		return nil, wanted(n, "the name of a member")
	case name == "replicatefrom":
		return n.text, nil
	}
	if v, whole := plainValue(n).(int64); whole {
		return int(v), nil
	}
	return plainValue(n), nil
}
