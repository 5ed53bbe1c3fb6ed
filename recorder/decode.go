package recorder

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// decoder reads trees back into values.
type decoder struct {
	// unknown are fields this version has no place for.
	unknown []string
}

// into fills v, which can be set, from its tree.
func (d *decoder) into(v reflect.Value, tree any, path string) error {
	var err error
	switch v.Kind() {
	case reflect.Bool:
		on, ok := tree.(bool)
		if !ok {
			return mismatch(path, v, tree)
		}
		v.SetBool(on)
		return nil
	case reflect.String:
		text, ok := tree.(string)
		if !ok {
			return mismatch(path, v, tree)
		}
		v.SetString(decodeText(text))
		return nil
	case reflect.Float32, reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(fmt.Sprint(tree), 64); err == nil {
			v.SetFloat(f)
		}
		return wrong(path, err)
	case reflect.Struct:
		return d.intoStruct(v, tree, path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.into(v.Elem(), tree, path)
	case reflect.Map:
		return d.intoMap(v, tree, path)
	case reflect.Slice:
		return d.intoSlice(v, tree, path)
	case reflect.Interface:
		return d.intoInterface(v, tree, path)
	}
	return wrong(path, intoNumber(v, tree))
}

func intoNumber(v reflect.Value, tree any) error {
	number, ok := tree.(json.Number)
	switch {
	case ok && v.CanInt():
		n, err := strconv.ParseInt(number.String(), 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case ok && v.CanUint():
		n, err := strconv.ParseUint(number.String(), 10, v.Type().Bits())
		v.SetUint(n)
		return err
	}
	return fmt.Errorf("%v is no %s", tree, v.Type())
}

func (d *decoder) intoStruct(v reflect.Value, tree any, path string) error {
	object, ok := tree.(map[string]any)
	if !ok {
		return mismatch(path, v, tree)
	}
	for name, value := range object {
		at := path + "." + name
		field := v.FieldByName(name)
		if !field.IsValid() || !field.CanSet() {
			d.unknown = append(d.unknown, at)
			continue
		}
		if err := d.into(field, value, at); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) intoMap(v reflect.Value, tree any, path string) error {
	object, ok := tree.(map[string]any)
	if !ok {
		return mismatch(path, v, tree)
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(object)))
	for key, value := range object {
		element := reflect.New(v.Type().Elem()).Elem()
		if err := d.into(element, value, path+"."+key); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(decodeText(key)).Convert(v.Type().Key()), element)
	}
	return nil
}

func (d *decoder) intoSlice(v reflect.Value, tree any, path string) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		text, ok := tree.(string)
		if !ok {
			return mismatch(path, v, tree)
		}
		v.SetBytes([]byte(decodeText(text)))
		return nil
	}
	list, ok := tree.([]any)
	if !ok {
		return mismatch(path, v, tree)
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, value := range list {
		if err := d.into(v.Index(i), value, path+"."+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// typed are the types that encodeInterface names.
var typed = map[string]reflect.Type{
	"int": reflect.TypeFor[int](), "int64": reflect.TypeFor[int64](), "uint64": reflect.TypeFor[uint64](), "float64": reflect.TypeFor[float64](),
	"list": reflect.TypeFor[[]any](), "map": reflect.TypeFor[map[string]any](),
}

func (d *decoder) intoInterface(v reflect.Value, tree any, path string) error {
	object, ok := tree.(map[string]any)
	if !ok {
		if text, is := tree.(string); is {
			tree = decodeText(text)
		}
		v.Set(reflect.ValueOf(tree))
		return nil
	}
	for name, value := range object {
		if name == "nil" {
			return nil
		}
		t, known := typed[name]
		if !known {
			return mismatch(path, v, tree)
		}
		inner := reflect.New(t).Elem()
		if err := d.into(inner, value, path); err != nil {
			return err
		}
		v.Set(inner)
	}
	return nil
}

func mismatch(path string, v reflect.Value, tree any) error {
	return fmt.Errorf("%s: %T cannot be read as %s", path, tree, v.Type())
}

func wrong(path string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
