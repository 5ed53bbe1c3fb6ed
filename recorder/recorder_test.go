package recorder

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// decided is a step as the loop would record it.
func decided(o election.Observation) Step {
	return Step{Observation: o, Decision: election.Decide(&o)}
}

func record(t testing.TB, steps ...Step) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, Head{Version: "1", Scope: "s", Member: "a"})
	for _, s := range steps {
		if err := w.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// TestWhatIsRecordedDecidesTheSame draws observations at random and changes them
// step by step; each must be decided from its recording as it was from itself.
func TestWhatIsRecordedDecidesTheSame(t *testing.T) {
	reasons := map[cluster.Reason]bool{}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var steps []Step
		o := observation(r)
		for range 50 {
			if r.IntN(5) == 0 {
				o = observation(r)
			}
			changed := reflect.ValueOf(&o).Elem()
			draw{r}.fill(changed.Field(r.IntN(changed.NumField())))
			s := decided(o)
			steps = append(steps, s)
			reasons[s.Decision.Reason] = true
		}
		checked, first, err := Replay(bytes.NewReader(record(t, steps...)))
		if checked != len(steps) || first != nil || err != nil {
			t.Fatalf("seed %d: %d of %d checked, %v, %v", seed, checked, len(steps), first, err)
		}
	}
	if len(reasons) < 15 { // the draw is worth something only while it reaches many rules
		t.Errorf("%d reasons were reached: %v", len(reasons), reasons)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		checked, first, err := Replay(bytes.NewReader(record(t, decided(observation(r)), decided(observation(r)))))
		if checked != 2 || first != nil || err != nil {
			t.Fatalf("%d checked, %v, %v", checked, first, err)
		}
	})
}

// FuzzRead: whatever a file holds, reading it ends, and with a word.
func FuzzRead(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	f.Add(record(f, decided(observation(r)), decided(observation(r))))
	f.Add([]byte("{\"full\":{\"format\":1},\"o\":{\"Now\":\"x\"}}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for step, err := range Read(bytes.NewReader(raw)) {
			_, _, _ = step.Reason(), step.Actions(), err
		}
	})
}

// TestEveryFieldComesBack: what is read is what was observed, but for what is
// left out on purpose.
func TestEveryFieldComesBack(t *testing.T) {
	for seed := range uint64(50) {
		o := observation(rand.New(rand.NewPCG(seed, 9)))
		for step, err := range Read(bytes.NewReader(record(t, decided(o)))) {
			if err != nil || len(step.Unknown) > 0 {
				t.Fatal(err, step.Unknown)
			}
			if diff := cmp.Diff(treeOf(o), treeOf(step.Observation)); diff != "" {
				t.Errorf("seed %d (-observed +read):\n%s", seed, diff)
			}
		}
	}
}

// TestEveryKindOfFieldCanBeRecorded: a field added to an observation that cannot
// be would make its recordings inexact.
func TestEveryKindOfFieldCanBeRecorded(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		switch of.Kind() {
		case reflect.Struct:
			for f := range of.Fields() {
				if !f.IsExported() {
					t.Errorf("%s.%s is not exported and would not be recorded", path, f.Name)
				}
				walk(path+"."+f.Name, f.Type)
			}
		case reflect.Map, reflect.Slice, reflect.Pointer:
			if of.Kind() == reflect.Map && of.Key().Kind() != reflect.String {
				t.Errorf("%s is a map by %s", path, of.Key())
			}
			walk(path, of.Elem())
		case reflect.Array, reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
			t.Errorf("%s is of kind %s", path, of.Kind())
		}
	}
	walk("observation", reflect.TypeFor[election.Observation]())
	for of, fields := range absent {
		for _, name := range fields {
			if _, ok := of.FieldByName(name); !ok {
				t.Errorf("%s has no field %s to leave out", of, name)
			}
		}
	}
}

func TestAQuietStepAddsNextToNothing(t *testing.T) {
	o := observation(rand.New(rand.NewPCG(5, 5)))
	first := record(t, decided(o))
	s := decided(o)
	s.Observation.Now++
	if grown := len(record(t, decided(o), s)) - len(first); grown > 60 {
		t.Errorf("a step that changes nothing takes %d bytes", grown)
	}
}

// TestNoSecretIsRecorded puts marked secrets wherever there is room for one.
func TestNoSecretIsRecorded(t *testing.T) {
	const secret = "hunter2"
	o := observation(rand.New(rand.NewPCG(7, 7)))
	o.Settings.PostgreSQL.Parameters = map[string]string{"primary_conninfo": "password=" + secret}
	o.Settings.PostgreSQL.PgHBA = []string{"host all all 0/0 ldap ldapbindpasswd=" + secret}
	o.Settings.PostgreSQL.RecoveryConf = map[string]string{"restore_command": "curl -u x:" + secret}
	o.Settings.Slots = map[string]map[string]any{"s": {"p": secret}}
	o.View.Value.Config = &cluster.Config{Raw: []byte(`{"p":"` + secret + `"}`)}
	o.View.Value.Problems, o.View.Value.Results = []string{secret}, map[string]cluster.Result{"r": {Message: secret}}
	o.View.Value.Members = map[string]cluster.Member{"b": {Name: "b", ConnURL: "postgres://u:" + secret + "@h:5432/d?password=" + secret,
		APIURL: "http://u:" + secret + "@h:8008", PendingReason: map[string]cluster.PendingReason{"primary_conninfo": {New: secret}}}}
	o.View.Err = "dial etcd://root:" + secret + "@10.0.0.1: refused"
	o.Node.Value.PrimaryConninfo = "host=h port=5432 password='" + secret + " x' sslpassword=" + secret
	o.Node.Value.PendingRestart = map[string]cluster.PendingReason{"x": {Old: secret}}
	o.Node.Err = `connect "host=h password = '` + secret + ` and more' user=x": refused`
	o.Job.LastErr = "pg_basebackup: PASSWORD=" + secret + " oauth_client_secret=" + secret
	recorded := record(t, decided(o))
	if at := strings.Index(string(recorded), secret); at >= 0 {
		t.Errorf("a secret is recorded: ...%s", recorded[max(0, at-60):at+len(secret)])
	}
	if checked, first, err := Replay(bytes.NewReader(recorded)); checked != 1 {
		t.Errorf("without its secrets it is decided otherwise: %v %v", first, err)
	}
}

func TestAReplayShowsTheFirstDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	good, bad := decided(observation(r)), decided(observation(r))
	bad.Decision.Reason, bad.Decision.Wake = "leading_by_mistake", 7
	checked, first, err := Replay(bytes.NewReader(record(t, good, good, bad, good)))
	if checked != 2 || first == nil || err != nil {
		t.Fatalf("%d checked, %v, %v", checked, first, err)
	}
	text := first.String()
	for _, want := range []string{"line 3", "recorded leading_by_mistake", "decision.Reason", "decision.Wake: recorded 7"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said: %s", want, text)
		}
	}
}

// TestADamagedRecordingIsReadUpToAndAfterTheDamage.
func TestADamagedRecordingIsReadUpToAndAfterTheDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	one := record(t, decided(observation(r)), decided(observation(r)), decided(observation(r)))
	lines := bytes.SplitAfter(one, []byte("\n"))
	cases := []struct {
		name string
		file []byte
		want int
		gap  int64
	}{
		{"whole", one, 3, 0},
		{"empty", nil, 0, 0},
		{"cut in the last line", one[:len(one)-9], 2, 0},
		{"cut, and gone on after a restart", append(append(bytes.Clone(one[:len(one)-9]), '\n'), one...), 5, 1},
		{"damaged in the middle", bytes.Join([][]byte{lines[0], []byte("{\"o\":\n"), lines[2], one}, nil), 4, 1},
	}
	for _, c := range cases {
		var steps int
		var gap int64
		for step, err := range Read(bytes.NewReader(c.file)) {
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			steps, gap = steps+1, gap+step.Gap
		}
		if steps != c.want || gap != c.gap {
			t.Errorf("%s: %d steps and a gap of %d, want %d and %d", c.name, steps, gap, c.want, c.gap)
		}
	}
}

func TestWhatIsNoRecordingIsRefused(t *testing.T) {
	for name, file := range map[string]string{
		"a text": "hello\nworld\n", "another format": `{"full":{"format":99,"version":"9"},"o":{},"d":{}}`,
		"a wrong type": `{"full":{"format":1},"o":{"Now":"x"},"d":{}}`, "a newer field": `{"full":{"format":1},"o":{"Later":1},"d":{}}`,
	} {
		if _, _, err := Replay(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), ErrUnreadable.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatDidNotChangeHasTheTreeItHad: steps that have nothing, a little or all in common are told as if each were the first.
func TestWhatDidNotChangeHasTheTreeItHad(t *testing.T) {
	var o, d encoder
	var last Step
	for i, drawn := range drawn(60) {
		for j, s := range []Step{drawn, drawn, mixed(last, drawn), mixed(drawn, last), {}, last} {
			if where := differences("observation", treeOf(s.Observation), o.treeOf(&s.Observation)); len(where) > 0 {
				t.Fatalf("step %d.%d: %s", i, j, where)
			}
			if where := differences("decision", treeOf(s.Decision), d.treeOf(&s.Decision)); len(where) > 0 {
				t.Fatalf("step %d.%d: %s", i, j, where)
			}
		}
		last = drawn
	}
}

// mixed has every second field of each of two steps, within the large ones too.
func mixed(a, b Step) Step {
	var mix func(to, from reflect.Value, depth int)
	mix = func(to, from reflect.Value, depth int) {
		for i := range to.NumField() {
			switch {
			case to.Field(i).Kind() == reflect.Struct && depth < 3 && to.Field(i).CanSet():
				mix(to.Field(i), from.Field(i), depth+1)
			case i%2 == 1 && to.Field(i).CanSet():
				to.Field(i).Set(from.Field(i))
			}
		}
	}
	mix(reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem(), 0)
	return a
}

// TestMembersThatDidNotChangeAreEncodedOnce: they are most of a step, and the same in most.
func TestMembersThatDidNotChangeAreEncodedOnce(t *testing.T) {
	members := map[string]cluster.Member{}
	for _, name := range []string{"a", "b", "c"} {
		members[name] = cluster.Member{Name: name, ConnURL: "postgres://u:secret@h/d", APIURL: "http://h:8008/patroni", State: cluster.StateRunning, Keeper: &cluster.MemberKeeper{Version: "1"}}
	}
	o := election.Observation{}
	o.View.Value.Members = members
	var e encoder
	whole := testing.AllocsPerRun(10, func() { treeOf(o) })
	e.treeOf(o)
	if again := testing.AllocsPerRun(10, func() { e.treeOf(o) }); again > whole/2 {
		t.Errorf("%.0f allocations for the same members again, %.0f for new ones", again, whole)
	}
	for _, change := range []func(){
		func() { o.Now++ },
		func() { o.View.Value.Members = maps.Clone(members); delete(o.View.Value.Members, "b") },
		func() { o.View.Value.Members = members },
		func() { o.View.Value.Members = nil },
		func() { o.View.Value.Members = map[string]cluster.Member{} },
	} {
		change()
		if _, same := diff(treeOf(o), e.treeOf(o)); !same {
			t.Errorf("recorded %v, want %v", e.treeOf(o), treeOf(o))
		}
	}
}
