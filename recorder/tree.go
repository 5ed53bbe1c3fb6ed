package recorder

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A tree is a value as JSON has it: map[string]any, []any, string, bool and
// json.Number. Fields go by their Go names and zero ones are left out; tags and
// marshalers are passed by, since the wire's forms leave things out that
// decisions rest on.

// treeOf turns a value into its tree, without its secrets.
func treeOf(v any) any { return encode(reflect.ValueOf(v)) }

func encode(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return encodeText(clean(v.String()))
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Map:
		return encodeMap(v)
	case reflect.Slice:
		return encodeSlice(v)
	case reflect.Interface:
		return encodeInterface(v)
	}
	if v.CanInt() {
		return json.Number(strconv.FormatInt(v.Int(), 10))
	}
	if v.CanUint() {
		return json.Number(strconv.FormatUint(v.Uint(), 10))
	}
	return "not recorded: " + v.Kind().String() // a test holds that there is none
}

func encodeStruct(v reflect.Value) any {
	out := map[string]any{}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if value.IsZero() || leftOut(v.Type(), field.Name) {
			continue
		}
		if form, ok := cleaned(v.Type(), field.Name); ok {
			if value = reflect.ValueOf(form(value.String())); value.IsZero() {
				continue
			}
		}
		tree := encode(value)
		if object, ok := tree.(map[string]any); ok && len(object) == 0 && field.Type.Kind() == reflect.Struct {
			continue // everything in it was left out
		}
		out[field.Name] = tree
	}
	return out
}

func encodeMap(v reflect.Value) any {
	out := make(map[string]any, v.Len())
	for _, key := range v.MapKeys() {
		out[encodeText(clean(key.String()))] = encode(v.MapIndex(key))
	}
	return out
}

func encodeSlice(v reflect.Value) any {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return encodeText(clean(string(v.Bytes())))
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = encode(v.Index(i))
	}
	return out
}

// encodeInterface names the type beside the value where JSON would lose it. An
// action is named too; it is compared, never read back.
func encodeInterface(v reflect.Value) any {
	if v.IsNil() {
		return map[string]any{"nil": true}
	}
	inner := v.Elem()
	switch inner.Interface().(type) {
	case bool, string:
		return encode(inner)
	case int, int64, uint64, float64:
		return map[string]any{inner.Kind().String(): encode(inner)}
	case []any:
		return map[string]any{"list": encode(inner)}
	case map[string]any:
		return map[string]any{"map": encode(inner)}
	}
	if v.NumMethod() == 0 {
		return encodeText(clean(fmt.Sprint(inner.Interface())))
	}
	return map[string]any{inner.Type().Name(): encode(inner)}
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
