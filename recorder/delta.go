package recorder

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// diff is what has to be laid over old to get new: an object of the members that
// differ, nil for those that are gone; a list of the same length differs by
// index. Anything else is replaced whole. Same is true when there is nothing.
func diff(old, new any) (patch any, same bool) {
	switch n := new.(type) {
	case map[string]any:
		if o, ok := old.(map[string]any); ok {
			return diffObjects(o, n)
		}
		return new, false
	case []any:
		if o, ok := old.([]any); ok && len(o) == len(n) {
			return diffLists(o, n)
		}
		return new, false
	}
	switch old.(type) {
	case map[string]any, []any:
		return new, false
	}
	return new, old == new
}

func diffObjects(old, new map[string]any) (patch any, same bool) {
	if reflect.ValueOf(old).Pointer() == reflect.ValueOf(new).Pointer() { // the tree of something immutable
		return nil, true
	}
	out := map[string]any{}
	for key, value := range new {
		before, had := old[key]
		if p, same := diff(before, value); !had || !same {
			out[key] = p
		}
	}
	for key := range old {
		if _, stays := new[key]; !stays {
			out[key] = nil
		}
	}
	return out, len(out) == 0
}

func diffLists(old, new []any) (patch any, same bool) {
	out := map[string]any{}
	for i := range new {
		if p, same := diff(old[i], new[i]); !same {
			out[strconv.Itoa(i)] = p
		}
	}
	return out, len(out) == 0
}

// apply lays a patch over old, which is not changed.
func apply(old, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	switch o := old.(type) {
	case map[string]any:
		out := maps.Clone(o)
		for key, value := range p {
			if value == nil {
				delete(out, key)
				continue
			}
			out[key] = apply(out[key], value)
		}
		return out
	case []any:
		out := slices.Clone(o)
		for key, value := range p {
			if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(out) {
				out[i] = apply(out[i], value)
			}
		}
		return out
	}
	return patch
}

// differences lists the paths at which two trees differ, with both values.
func differences(path string, a, b any) []string {
	if _, same := diff(a, b); same {
		return nil
	}
	x, ok := a.(map[string]any)
	y, both := b.(map[string]any)
	if !ok || !both {
		return []string{path + ": recorded " + show(a) + ", now " + show(b)}
	}
	keys := map[string]bool{}
	for key := range x {
		keys[key] = true
	}
	for key := range y {
		keys[key] = true
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		out = append(out, differences(path+"."+key, x[key], y[key])...)
	}
	return out
}
