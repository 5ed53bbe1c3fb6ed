package recorder

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A tree is a value as JSON has it: map[string]any, []any, string, bool and
// json.Number. Fields go by their Go names and zero ones are left out; tags and
// marshalers are passed by, since the wire's forms leave things out that
// decisions rest on.

// treeOf turns a value into its tree, without its secrets.
func treeOf(v any) any { return (&encoder{}).treeOf(v) }

// encoder makes trees of one step after another. The members of a view are most of a
// step, and hardly ever change: views are immutable, so the same map has the same tree.
type encoder struct {
	members reflect.Value // kept, so that no other map takes its place in memory
	tree    any
}

func (e *encoder) treeOf(v any) any { return e.encode(reflect.ValueOf(v)) }

func (e *encoder) encode(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return encodeText(clean(v.String()))
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Struct:
		return e.encodeStruct(v)
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

func (e *encoder) encodeStruct(v reflect.Value) any {
	out := map[string]any{}
	for _, f := range recorded(v.Type()) {
		value := v.Field(f.index)
		if value.IsZero() {
			continue
		}
		if f.form != nil {
			if value = reflect.ValueOf(f.form(value.String())); value.IsZero() {
				continue
			}
		}
		tree := e.encode(value)
		if object, ok := tree.(map[string]any); ok && len(object) == 0 && f.within {
			continue // everything in it was left out
		}
		out[f.name] = tree
	}
	return out
}

var membersType = reflect.TypeFor[map[string]cluster.Member]()

func (e *encoder) encodeMap(v reflect.Value) any {
	members := v.Type() == membersType && !v.IsNil()
	if members && e.members.IsValid() && e.members.Pointer() == v.Pointer() {
		return e.tree
	}
	out := make(map[string]any, v.Len())
	for _, key := range v.MapKeys() {
		out[encodeText(clean(key.String()))] = e.encode(v.MapIndex(key))
	}
	if members {
		e.members, e.tree = v, out
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
