package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrPatch says that a patch, or what it is applied to, is no JSON object.
var ErrPatch = errors.New("not a JSON object")

// Merge applies a patch to a dynamic configuration as Patroni's PATCH /config
// does: null removes a key, mappings merge key by key, and a scalar whose text
// is the same changes nothing. changed is false when the result is the base.
func Merge(base, patch json.RawMessage) (merged json.RawMessage, changed bool, err error) {
	over, err := object(patch, "patch")
	if err != nil {
		return nil, false, err
	}
	into, err := object(base, "configuration in the store")
	if err != nil {
		return nil, false, err
	}
	changed = into.patch(over)
	if !changed && len(bytes.TrimSpace(base)) > 0 {
		return base, false, nil
	}
	return into.raw(), changed, nil
}

func object(raw json.RawMessage, what string) (*node, error) {
	n, err := parseJSON(raw, what)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s %w", ErrPatch, what, err)
	case n.shape == shapeNull && what != "patch":
		return &node{shape: shapeDict}, nil
	case n.shape != shapeDict:
		return nil, fmt.Errorf("%w: %s is %s", ErrPatch, what, n.shape)
	}
	return n, nil
}

func (n *node) patch(over *node) (changed bool) {
	for _, e := range over.entries {
		i := n.index(e.key)
		switch {
		case e.value.shape == shapeNull && i >= 0:
			n.entries = slices.Delete(n.entries, i, i+1)
			changed = true
		case e.value.shape == shapeNull:
		case i < 0:
			n.entries = append(n.entries, entry{e.key, e.pos, e.value.withoutNulls()})
			changed = true
		case e.value.shape == shapeDict && n.entries[i].value.shape == shapeDict:
			changed = n.entries[i].value.patch(e.value) || changed
		case !same(n.entries[i].value, e.value):
			n.entries[i].value = e.value.withoutNulls()
			changed = true
		}
	}
	return changed
}

// withoutNulls drops keys that say nothing: in a patch null means "remove".
func (n *node) withoutNulls() *node {
	if n.shape == shapeDict {
		n.entries = slices.DeleteFunc(n.entries, func(e entry) bool { return e.value.shape == shapeNull })
		for _, e := range n.entries {
			e.value.withoutNulls()
		}
	}
	return n
}

// same compares as Patroni does: numbers and texts by how they are written,
// booleans only with booleans.
func same(a, b *node) bool {
	if a.scalar() && b.scalar() {
		return a.text == b.text && (a.shape == shapeBool) == (b.shape == shapeBool) && (a.shape == shapeNull) == (b.shape == shapeNull)
	}
	return a.shape == b.shape && bytes.Equal(a.raw(), b.raw())
}
