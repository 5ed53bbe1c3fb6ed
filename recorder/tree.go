package recorder

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A tree is a value as JSON has it: map[string]any, []any, string, bool and
// json.Number. Fields go by their Go names and zero ones are left out; tags and
// marshalers are passed by, since the wire's forms leave things out that
// decisions rest on.

// treeOf turns a value into its tree, without its secrets.
func treeOf(v any) any { return (&encoder{}).treeOf(v) }

// encoder makes trees of one value after another. Most of a step is as it was in the step
// before, and what is gets the tree it had: nothing that a step refers to is ever changed,
// or it could not be read beside the loop.
type encoder struct {
	was  reflect.Value // kept, so that nothing else takes its place in memory
	tree any
}

func (e *encoder) treeOf(v any) any {
	now := reflect.ValueOf(v)
	e.tree = e.again(now, e.was, e.tree)
	e.was = now
	return e.tree
}

// again encodes a value of which another was encoded before, as tree.
func (e *encoder) again(v, was reflect.Value, tree any) any {
	switch {
	case !was.IsValid() || was.Type() != v.Type():
		return e.encode(v)
	case v.Kind() == reflect.Pointer && !v.IsNil() && !was.IsNil():
		return e.again(v.Elem(), was.Elem(), tree)
	case tree != nil && unchanged(v, was):
		return tree
	case v.Kind() == reflect.Struct:
		return e.encodeStruct(v, was, tree)
	}
	return e.encode(v)
}

// unchanged reports whether two values of one type have the same tree, as far as that is
// told with little: it may miss that they do.
func unchanged(v, was reflect.Value) bool {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool() == was.Bool()
	case reflect.String:
		return v.String() == was.String()
	case reflect.Struct:
		for _, f := range recorded(v.Type()) {
			if !unchanged(v.Field(f.index), was.Field(f.index)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		return v.Pointer() == was.Pointer() || !v.IsNil() && !was.IsNil() && unchanged(v.Elem(), was.Elem())
	case reflect.Map:
		return v.Pointer() == was.Pointer()
	case reflect.Slice:
		return unchangedSlice(v, was)
	case reflect.Interface:
		a, b := v.Elem(), was.Elem()
		return a.IsValid() == b.IsValid() && (!a.IsValid() || a.Type() == b.Type() && unchanged(a, b))
	}
	return v.CanInt() && v.Int() == was.Int() || v.CanUint() && v.Uint() == was.Uint()
}

func unchangedSlice(v, was reflect.Value) bool {
	if v.Len() != was.Len() || v.IsNil() != was.IsNil() {
		return false
	}
	for i := range v.Len() {
		if !unchanged(v.Index(i), was.Index(i)) {
			return false
		}
	}
	return true
}

func (e *encoder) encode(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return encodeText(clean(v.String()))
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Struct:
		return e.encodeStruct(v, reflect.Value{}, nil)
	case reflect.Pointer:
		return e.encode(v.Elem())
	case reflect.Map:
		return e.encodeMap(v)
	case reflect.Slice:
		return e.encodeSlice(v)
	case reflect.Interface:
		return e.encodeInterface(v)
	}
	if v.CanInt() {
		return json.Number(strconv.FormatInt(v.Int(), 10))
	}
	if v.CanUint() {
		return json.Number(strconv.FormatUint(v.Uint(), 10))
	}
	return "not recorded: " + v.Kind().String() // a test holds that there is none
}

// field is one field that is recorded of a struct.
type field struct {
	index  int
	name   string
	form   func(string) string // of which a part is recorded; nil for all others
	within bool                // a struct itself
}

// fieldsOf are found once for each type: reflection is slow to tell them.
var fieldsOf sync.Map // reflect.Type to []field

func recorded(t reflect.Type) []field {
	known, _ := fieldsOf.Load(t)
	if fields, ok := known.([]field); ok {
		return fields
	}
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if leftOut(t, f.Name) {
			continue
		}
		form, _ := cleaned(t, f.Name)
		fields = append(fields, field{i, f.Name, form, f.Type.Kind() == reflect.Struct})
	}
	fieldsOf.Store(t, fields)
	return fields
}

// encodeStruct encodes a struct; was and tree are another one of its type, or none.
func (e *encoder) encodeStruct(v, was reflect.Value, tree any) any {
	out := map[string]any{}
	old, _ := tree.(map[string]any)
	for _, f := range recorded(v.Type()) {
		value, before := v.Field(f.index), reflect.Value{}
		if value.IsZero() {
			continue
		}
		if was.IsValid() && f.form == nil {
			before = was.Field(f.index)
		}
		if f.form != nil {
			if value = reflect.ValueOf(f.form(value.String())); value.IsZero() {
				continue
			}
		}
		tree := e.again(value, before, old[f.name])
		if object, ok := tree.(map[string]any); ok && len(object) == 0 && f.within {
			continue // everything in it was left out
		}
		out[f.name] = tree
	}
	return out
}

func (e *encoder) encodeMap(v reflect.Value) any {
	out := make(map[string]any, v.Len())
	for _, key := range v.MapKeys() {
		out[encodeText(clean(key.String()))] = e.encode(v.MapIndex(key))
	}
	return out
}

func (e *encoder) encodeSlice(v reflect.Value) any {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return encodeText(clean(string(v.Bytes())))
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = e.encode(v.Index(i))
	}
	return out
}

// encodeInterface names the type beside the value where JSON would lose it. An
// action is named too; it is compared, never read back.
func (e *encoder) encodeInterface(v reflect.Value) any {
	if v.IsNil() {
		return map[string]any{"nil": true}
	}
	inner := v.Elem()
	switch inner.Interface().(type) {
	case bool, string:
		return e.encode(inner)
	case int, int64, uint64, float64:
		return map[string]any{inner.Kind().String(): e.encode(inner)}
	case []any:
		return map[string]any{"list": e.encode(inner)}
	case map[string]any:
		return map[string]any{"map": e.encode(inner)}
	}
	if v.NumMethod() == 0 {
		return encodeText(clean(fmt.Sprint(inner.Interface())))
	}
	return map[string]any{inner.Type().Name(): e.encode(inner)}
}

// rawMark begins a text that is no UTF-8 (a key of the store may be anything):
// its bytes follow, each as a character.
const rawMark = "\x00"

func encodeText(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, rawMark) {
		return s
	}
	var b strings.Builder
	b.WriteString(rawMark)
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

func decodeText(s string) string {
	raw, marked := strings.CutPrefix(s, rawMark)
	if !marked {
		return s
	}
	out := make([]byte, 0, len(raw))
	for _, r := range raw {
		out = append(out, byte(r))
	}
	return string(out)
}
