package cluster

import "testing"

func TestAParametersNameIsLettersDigitsAndDots(t *testing.T) {
	for name, want := range map[string]bool{
		"work_mem": true, "Work_Mem": true, "_x": true, "auto_explain.log_min_duration": true, "a1": true, "includes": true,
		"": false, "1a": false, ".a": false, "a b": false, "a=b": false, "a\nb": false, "a\rb": false, "a#b": false, "a'b": false, "a$b": false,
		"a\x00": false, "\u212aeep": false, "ä": false, "\xff": false, "include": false, "Include_Dir": false, "include_if_exists": false,
	} {
		if got := ServerParameter(name); got != want {
			t.Errorf("ServerParameter(%q) = %t, want %t", name, got, want)
		}
	}
}
