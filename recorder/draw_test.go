package recorder

import (
	"math/rand/v2"
	"reflect"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// draw fills any value with what is drawn from r: every field there is, also one
// that is added later, mostly from few choices, so that rules are reached.
type draw struct{ *rand.Rand }

func observation(r *rand.Rand) election.Observation {
	var o election.Observation
	draw{r}.fill(reflect.ValueOf(&o).Elem())
	o.Now = 1_000_000_000_000
	if r.IntN(2) == 0 {
		o.Self.Name, o.View.Err, o.Node.Err, o.Guard.Connected = "a", "", "", true
	}
	return o
}

var words = []string{"a", "b", "c", "", "node-a", "i1", "running", "streaming", "host=10.0.0.1 port=5432 user=x", "postgres://h:5432/d",
	"\xff\x00raw", "\x00", "größe", "true", "primary", "replica", "it broke: password=hunter2 at host", "7268616322854375442"}

func (d draw) fill(v reflect.Value) {
	switch v.Interface().(type) { // their String methods end at the last one
	case cluster.Mode:
		v.SetInt(int64(d.IntN(6)))
		return
	case cluster.DataDir:
		v.SetInt(int64(d.IntN(5)))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(d.IntN(2) == 0)
	case reflect.String:
		v.SetString(words[d.IntN(len(words))])
	case reflect.Float64:
		v.SetFloat(d.Float64())
	case reflect.Struct:
		for _, field := range v.Fields() {
			if d.IntN(4) > 0 {
				d.fill(field)
			}
		}
	case reflect.Pointer:
		if d.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			d.fill(v.Elem())
		}
	case reflect.Slice:
		if n := d.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
			for i := range n - 1 {
				d.fill(v.Index(i))
			}
		}
	case reflect.Map:
		d.fillMap(v)
	case reflect.Interface:
		choices := []any{true, "text", 5, int64(-5), uint64(1) << 63, 0.25, []any{"x", nil}, map[string]any{"k": 1}}
		if n := d.IntN(len(choices) + 1); n < len(choices) {
			v.Set(reflect.ValueOf(choices[n]))
		}
	default:
		d.number(v)
	}
}

func (d draw) fillMap(v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for range d.IntN(4) {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		d.fill(key)
		d.fill(value)
		v.SetMapIndex(key, value)
	}
}

func (d draw) number(v reflect.Value) {
	choices := []int64{0, 1, 2, 3, 100, 1000, 5_000_000_000, 995_000_000_000, 999_900_000_000}
	n := choices[d.IntN(len(choices))]
	switch {
	case v.CanInt() && v.Type().Bits() == 64 && d.IntN(20) == 0:
		v.SetInt(int64(d.Uint64()))
	case v.CanInt():
		v.SetInt(n)
	case v.Type().Bits() == 64 && d.IntN(20) == 0:
		v.SetUint(d.Uint64())
	default:
		v.SetUint(uint64(n) & (1<<v.Type().Bits() - 1))
	}
}
